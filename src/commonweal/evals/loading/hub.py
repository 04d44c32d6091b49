"""Hugging Face data sets, through its optional libraries. Knows no cache and no scenario.

The libraries are imported when the first data set is opened: they take seconds. Data sets are streamed, at the
commit that a revision stands for; nothing of a data set is run here (its loading scripts are refused by the library).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from commonweal.core.errors import CommonwealError, NotFound, Unavailable
from commonweal.evals.scenario import Hub

_CONVERTED = "refs/convert/parquet"  # the branch where the hub keeps its copies
_TIMEOUT = 15.0  # seconds to answer what a revision stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A data set that was opened: its ``commit``, and either a stream of rows or a downloaded file."""

    commit: str
    rows: Iterator[dict[str, Any]] | None = None
    file: Path | None = None


class Remote(Protocol):
    def open(self, hub: Hub) -> Fetched:
        """Raises NotFound where there is no such data set for us, Unavailable where the network is away."""
        ...


class HuggingFace:
    """The public hub, with the token that its own library finds, if any. ``endpoint`` is another one of its kind, for
    commits and files."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def open(self, hub: Hub) -> Fetched:
        try:
            import huggingface_hub

            if not hub.file:
                import datasets
        except ImportError as error:
            raise NotFound(
                f"{hub.path}: the library '{error.name}' is not installed",
                hint="pip install datasets, or give the files by --data-root",
            ) from None
        with told(hub):
            api = huggingface_hub.HfApi(endpoint=self._endpoint)
            commit = str(api.dataset_info(hub.path, revision=hub.revision, timeout=_TIMEOUT).sha)
            if hub.file:
                file = api.hf_hub_download(hub.path, hub.file, repo_type="dataset", revision=commit)
                return Fetched(commit=commit, file=Path(file))
            try:
                stream = datasets.load_dataset(
                    hub.path, hub.config, split=hub.split, revision=commit, streaming=True
                )
            except RuntimeError as error:
                if "script" not in str(error) or hub.revision != "main":
                    raise
                commit, files = _converted(api, hub)
                stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
            return Fetched(commit=commit, rows=_stream(hub, stream.take(hub.first) if hub.first else stream))


def _converted(api: Any, hub: Hub) -> tuple[str, list[str]]:
    """The commit and the files of the hub's own Parquet copy: for data sets whose script the library no longer
    runs. Their folders are config/split, or config/partial-split of a very large one."""
    commit = str(api.dataset_info(hub.path, revision=_CONVERTED, timeout=_TIMEOUT).sha)
    names = api.list_repo_files(hub.path, repo_type="dataset", revision=commit)
    folders = {hub.split, f"partial-{hub.split}"}
    parts = [name.split("/") for name in names if name.endswith(".parquet")]
    found = ["/".join(p) for p in parts if len(p) == 3 and p[1] in folders and hub.config in (None, p[0])]
    if not found or len({name.partition("/")[0] for name in found}) > 1:
        raise NotFound(
            f"{hub.path}: it is loaded by a script, and no Parquet copy of '{hub.split}' was found"
        )
    return commit, [f"hf://datasets/{hub.path}@{commit}/{name}" for name in sorted(found)]


def _stream(hub: Hub, stream: Any) -> Iterator[dict[str, Any]]:
    with told(hub):
        for row in stream:
            yield dict(row)


@contextmanager
def told(hub: Hub) -> Iterator[None]:
    """What the libraries raise, in our words."""
    try:
        yield
    except CommonwealError:
        raise
    except Exception as error:  # a dozen types, of three libraries and their HTTP clients
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        cut = type(error).__name__ == "LocalEntryNotFoundError"  # a FileNotFoundError when the line is cut
        is_absent = isinstance(error, (ValueError, RuntimeError, FileNotFoundError)) and not cut
        if status in (401, 403, 404) or is_absent:
            raise NotFound(f"{hub.path}: {reason}") from error
        raise Unavailable(f"{hub.path}: {type(error).__name__}: {reason}") from error
