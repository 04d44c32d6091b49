"""The loader: finds the first origin within reach, reads it, and remembers what was read.

Local files come before the hub and the web; what came from there once is read from the cache, also offline. Knows file
formats by :mod:`.files`, the hub by :mod:`.hub`, the web by :mod:`.web` and the cache by :mod:`.cache`; knows no
scenario.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import NotFound, Unavailable
from commonweal.evals.loading.cache import Entry, RowCache, file_hash
from commonweal.evals.loading.files import file_rows
from commonweal.evals.loading.hub import HuggingFace, Remote
from commonweal.evals.loading.web import Files, HttpFiles
from commonweal.evals.scenario import Hub, Loader, Local, Origin, Row, Web

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was opened: a local file, a file of the web, or a data set with the commit that its revision stood for."""

    path: str
    revision: str = ""
    sha256: str = ""


class DataLoader:
    """Rows of the first origin that can be read (see :class:`commonweal.evals.scenario.Loader`).

    ``data_root`` is the folder of local files, None for none. ``cache`` is the folder where rows of the hub are kept.
    ``offline`` asks no network. ``sources`` tells, in order, what was opened so far, ``missed`` what was not to be
    had and why; both belong into a run's record.
    """

    def __init__(
        self,
        data_root: Path | None,
        cache: Path,
        seed: int = 0,
        offline: bool = False,
        *,
        remote: Remote | None = None,
        files: Files | None = None,
    ) -> None:
        self.seed = seed
        self.sources: list[Source] = []
        self.missed: list[str] = []
        self._root = data_root
        self._cache = RowCache(cache)
        self._away = "not loaded before, and no network is asked (offline)" if offline else ""
        self._remote = remote or HuggingFace()
        self._files = files or HttpFiles()

    def rows(self, *origins: Origin) -> Iterator[Row]:
        """Rows in file order, read as they are asked for. Raises NotFound at once where no origin is within reach,
        DataError (file, line) as soon as a bad row is reached."""
        reasons: list[str] = []
        for origin in sorted(origins, key=lambda origin: not isinstance(origin, Local)):
            try:
                return self._opened(origin)
            except NotFound as error:
                reasons.append(error.message)
        missing = "data not available: " + "; ".join(reasons)
        self.missed.append(missing)
        raise NotFound(missing, hint="give the folder of data by --data-root, or allow the download")

    def path(self, local: Local, web: Web | None = None) -> Path:
        """Where a local file or folder lies, or where the file of the web was put. Raises NotFound."""
        reasons: list[str] = []
        try:
            path = self._below_root(local)
            if path.exists():
                self.sources.append(Source(path=str(path)))
                return path
            reasons.append(f"{local.path}: {_absent(path, local)}")
        except NotFound as error:
            reasons.append(error.message)
        if web is not None:
            try:
                return self._of_web(web).file
            except NotFound as error:
                reasons.append(error.message)
        raise NotFound("data not available: " + "; ".join(reasons))

    def _opened(self, origin: Origin) -> Iterator[Row]:
        match origin:
            case Local():
                return self._local(origin)
            case Hub():
                return self._hub(origin)
            case Web():
                return self._web(origin)

    def _local(self, local: Local) -> Iterator[Row]:
        path = self._below_root(local)
        files = _matches(path)
        if not files:
            raise NotFound(f"{local.path}: {_absent(path, local)}")
        self.sources.extend(Source(path=str(file)) for file in files)
        return (row for file in files for row in file_rows(file, local.columns))

    def _below_root(self, local: Local) -> Path:
        path = Path(local.path)
        if path.is_absolute():
            return path
        if self._root is None:
            raise NotFound(f"{local.path}: no data root was given{_where(local)}")
        return self._root / path

    def _hub(self, hub: Hub) -> Iterator[Row]:
        entry = self._cache.find(hub)
        if entry is None:
            if self._away:
                raise NotFound(f"{hub.path}: {self._away}")
            try:
                fetched = self._remote.open(hub)
            except Unavailable as error:
                self._away = f"the hub is out of reach ({error.message})"  # asked once, not once a scenario
                raise NotFound(error.message) from None
            if fetched.file is None:
                assert fetched.rows is not None
                self.sources.append(Source(path=hub.path, revision=fetched.commit))
                return self._cache.keeping(hub, fetched.commit, fetched.rows)
            try:
                entry = self._cache.adopt(hub, fetched.commit, fetched.file)
            except OSError as error:
                log.warning("file_not_cached path=%s reason=%s", hub.path, error)
                entry = Entry(origin=hub, commit=fetched.commit, sha256="", file=fetched.file)
        self.sources.append(Source(path=hub.path, revision=entry.commit, sha256=entry.sha256))
        return file_rows(entry.file, hub.columns)

    def _web(self, web: Web) -> Iterator[Row]:
        return file_rows(self._of_web(web).file, web.columns)

    def _of_web(self, web: Web) -> Entry:
        entry = self._cache.find(web)
        if entry is None:
            if self._away:
                raise NotFound(f"{web.url}: {self._away}")
            entry = self._downloaded(web)
        self.sources.append(Source(path=web.url, sha256=entry.sha256))
        return entry

    def _downloaded(self, web: Web) -> Entry:
        try:
            with self._cache.room() as folder:
                self._files.fetch(web, folder / web.name)
                _check(web, folder / web.name)
                return self._cache.adopt(web, "", folder / web.name)
        except Unavailable as error:
            raise NotFound(error.message) from None
        except OSError as error:
            raise NotFound(f"{web.url}: it cannot be kept: {error}") from None


def _check(web: Web, file: Path) -> None:
    """Raises NotFound where what came is not what the scenario was written for."""
    found = file_hash(file)
    if web.sha256 and found != web.sha256:
        raise NotFound(f"{web.url}: another file than expected (sha256 {found[:12]}, not {web.sha256[:12]})")


def examples(loader: Loader, *origins: Origin) -> Iterator[Row]:
    """Rows to take in-context examples from; none, with a warning, where they are out of reach: the evaluation goes
    on with fewer shots, and each sample says how many it had."""
    try:
        return loader.rows(*origins)
    except NotFound as error:
        log.warning("no_examples reason=%s", error.message)
        if isinstance(loader, DataLoader):
            loader.missed[-1] = f"asked without examples: {error.message}"
        return iter(())


def _absent(path: Path, local: Local) -> str:
    return "no such file" if path == Path(local.path) else f"not below the data root{_where(local)}"


def _where(local: Local) -> str:
    return f" (--data-root); get it from {local.get}" if local.get else ""


def _matches(path: Path) -> list[Path]:
    """The files that ``path`` names, in the order of their names; a ``*`` in any part stands for any name."""
    parts = path.parts
    star = next((i for i, part in enumerate(parts) if "*" in part), None)
    if star is None:
        return [path] if path.is_file() or _in_archive(path) else []
    return sorted(file for file in Path(*parts[:star]).glob(str(Path(*parts[star:]))) if file.is_file())


def _in_archive(path: Path) -> bool:
    return any(parent.suffix.lower() == ".zip" and parent.is_file() for parent in path.parents)
