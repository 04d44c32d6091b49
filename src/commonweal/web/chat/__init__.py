"""The chat page, served at ``/chat``: static HTML, CSS and native modules that talk to ``/v1``.

No build step, no framework, nothing from another host: the Content-Security-Policy allows scripts, styles and
connections of this hub alone, and no inline ones. The page holds no state here; the key stays in the browser's tab.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

from commonweal.core.errors import NotFound

router = APIRouter(include_in_schema=False)

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def _files() -> dict[str, bytes]:
    folder = resources.files(__name__) / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


_FILES = _files()


@router.get("/chat")
def page() -> Response:
    """The page itself."""
    return _file("page.html")


@router.get("/chat/static/{name}")
def static(name: str) -> Response:
    """Its parts."""
    return _file(name)


def _file(name: str) -> Response:
    kind = _TYPES.get(name.rpartition(".")[2])
    if name not in _FILES or kind is None:
        raise NotFound(f"the chat page has no file '{name[:80]}'")
    return Response(_FILES[name], media_type=kind, headers=HEADERS)
