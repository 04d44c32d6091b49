"""The files that pages load: style sheets, scripts and pictures, which stand in a package's folder ``static``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

from commonweal.core.errors import NotFound
from commonweal.web.site.page import File

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def files_of(package: str, place: str = "static") -> Mapping[str, File]:
    """The files of ``package`` by name; their paths are below ``place``."""
    folder = resources.files(package) / "static"
    return {
        file.name: File(
            path=f"{place}/{file.name}",
            data=file.read_bytes(),
            media_type=_TYPES[file.name.rpartition(".")[2]],
        )
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.rpartition(".")[2] in _TYPES
    }


FILES = files_of("commonweal.web.site")


def router_of_files(files: Mapping[str, File], headers: Mapping[str, str]) -> APIRouter:
    """Serves files at their paths."""
    router = APIRouter(include_in_schema=False)
    place = next(iter(files.values())).path.rpartition("/")[0]

    @router.get(f"/{place}/{{name}}")
    def file(name: str) -> Response:
        found = files.get(name)
        if found is None:
            raise NotFound(f"no file '{name[:80]}'")
        return Response(found.data, media_type=found.media_type, headers=dict(headers))

    return router
