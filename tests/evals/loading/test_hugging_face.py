"""The Hugging Face side of loading, against a server on loopback that answers as the hub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import NotFound, Unavailable
from commonweal.evals.loading import DataLoader
from commonweal.evals.loading.hub import HuggingFace, told
from commonweal.evals.scenario import Hub

COMMIT = "9ee50172ea9afda2f1033c6f1b986e568b862fb3"
DATA = b"Sentence,Label\nOne.,a\n"


class Server(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/org/set/revision/"):
            self._answer(json.dumps({"id": "org/set", "sha": COMMIT}).encode())
        else:
            self._answer(DATA)

    def _answer(self, body: bytes) -> None:
        known = self.path.startswith(
            ("/api/datasets/org/set/", f"/datasets/org/set/resolve/{COMMIT}/data/x.csv")
        )
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "EntryNotFound" if "/resolve/" in self.path else "RepoNotFound")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"e7a9"')
        self.send_header("Content-Length", str(len(body) if self.command == "GET" else len(DATA)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_at_the_commit_and_kept(endpoint: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    hub = Hub(path="org/set", revision="main", file="data/x.csv")
    loader = DataLoader(None, tmp_path / "cache", remote=HuggingFace(endpoint=endpoint))
    assert [row["Sentence"] for row in loader.rows(hub)] == ["One."]
    assert loader.sources[0].revision == COMMIT
    offline = DataLoader(None, tmp_path / "cache", offline=True)
    assert [row["Label"] for row in offline.rows(hub)] == ["a"]


@pytest.mark.parametrize(("path", "file"), [("org/none", "data/x.csv"), ("org/set", "data/y.csv")])
def test_what_is_not_there_is_told(
    path: str, file: str, endpoint: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    loader = DataLoader(None, tmp_path / "cache", remote=HuggingFace(endpoint=endpoint))
    with pytest.raises(NotFound, match=f"data not available: {path}: .*404"):
        loader.rows(Hub(path=path, revision="main", file=file))


def test_a_table_is_streamed_at_the_commit(endpoint: str, monkeypatch: Any) -> None:
    asked: dict[str, Any] = {}

    def load_dataset(path: str, config: str | None, **kwargs: Any) -> Any:
        asked.update(kwargs, path=path, config=config)
        return iter([{"a": 1}])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    fetched = HuggingFace(endpoint=endpoint).open(
        Hub(path="org/set", revision="main", split="dev", config="c")
    )
    assert fetched.rows is not None
    assert list(fetched.rows) == [{"a": 1}]
    assert asked == {"path": "org/set", "config": "c", "split": "dev", "revision": COMMIT, "streaming": True}


class Api:
    """A repository with a script, and the hub's Parquet copy of it."""

    def __init__(self, endpoint: str | None = None) -> None:
        pass

    def dataset_info(self, path: str, *, revision: str, timeout: float) -> Any:
        return type("Info", (), {"sha": "copy" if revision == "refs/convert/parquet" else "script"})

    def list_repo_files(self, path: str, *, repo_type: str, revision: str) -> list[str]:
        assert revision == "copy"
        return [
            "README.md",
            *(f"{c}/{s}/000{n}.parquet" for c in "ab" for s in ("train", "partial-dev") for n in (1, 0)),
        ]


def test_a_data_set_with_a_script_is_read_from_the_hubs_copy(monkeypatch: Any) -> None:
    asked: list[Any] = []

    def load_dataset(path: str, config: str | None = None, **kwargs: Any) -> Any:
        if path == "org/set":
            raise RuntimeError("Dataset scripts are no longer supported, but found set.py")
        asked.append(kwargs["data_files"])
        return iter([{"a": 1}])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    fetched = HuggingFace().open(Hub(path="org/set", revision="main", split="dev", config="a"))
    assert fetched.commit == "copy"
    assert asked == [[f"hf://datasets/org/set@copy/a/partial-dev/000{n}.parquet" for n in (0, 1)]]
    for hub in (
        Hub(path="org/set", revision="main", split="dev"),  # of which config?
        Hub(path="org/set", revision="main", split="test", config="a"),
        Hub(path="org/set", revision="v1", split="dev", config="a"),  # the copy is of the newest alone
    ):
        with pytest.raises(NotFound, match=r"org/set: .*script"):
            HuggingFace().open(hub)


def test_nobody_at_home_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="org/set"):
        HuggingFace(endpoint="http://127.0.0.1:9").open(Hub(path="org/set", revision="main"))


def test_without_the_library_the_message_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(NotFound, match="'datasets' is not installed") as caught:
        HuggingFace().open(Hub(path="org/set", revision="main"))
    assert "pip install" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("BuilderConfig 'x' not found"), NotFound),
        (RuntimeError("Dataset scripts are no longer supported"), NotFound),
        (FileNotFoundError("no data files"), NotFound),
        (ConnectionError("reset"), Unavailable),
        (TimeoutError(), Unavailable),
    ],
)
def test_errors_of_the_libraries(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="org/set: "), told(Hub(path="org/set", revision="main")):
        raise error
