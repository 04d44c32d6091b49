"""Files of the web, against a server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import DataError, NotFound
from commonweal.core.hashing import record_hash
from commonweal.evals.loading import DataLoader
from commonweal.evals.scenario import Hub, Local, Web

ROWS = b"7 0 11 1\n7 0 12 0\n"
COLUMNS = ("qid", "unused", "docid", "relevance")


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = {"/qrels.txt": ROWS, "/q.tsv.gz": gzip.compress(b"7\twhy?\n"), "/short.txt": ROWS}
        body = known.get(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/qrels.txt")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if body else 503 if self.path == "/busy" else 404)
        self.send_header("Content-Length", str(len(body or b"") + (self.path == "/short.txt")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def web(address: str, path: str, name: str = "qrels.ssv") -> Web:
    return Web(url=address + path, name=name, columns=COLUMNS if name.endswith("ssv") else ("qid", "text"))


def test_the_hash_that_a_file_must_have_is_checked(address: str, tmp_path: Path) -> None:
    good, other = hashlib.sha256(ROWS).hexdigest(), "0" * 64
    loader = DataLoader(None, tmp_path / "cache")
    assert len(list(loader.rows(replace(web(address, "/qrels.txt"), sha256=good)))) == 2
    with pytest.raises(NotFound, match="another file than expected"):
        loader.rows(replace(web(address, "/qrels.txt"), sha256=other))
    assert (
        loader.path(Local(path="none"), replace(web(address, "/qrels.txt"), sha256=good)).read_bytes() == ROWS
    )


def test_what_was_cached_before_hashes_were_told_is_still_found(address: str, tmp_path: Path) -> None:
    list(DataLoader(None, tmp_path).rows(web(address, "/qrels.txt")))
    plain = {"url": f"{address}/qrels.txt", "name": "qrels.ssv", "columns": list(COLUMNS)}
    assert (tmp_path / f"qrels.ssv--{record_hash(plain)[:8]}.json").exists()


def test_a_file_is_downloaded_once_and_pinned_by_its_hash(address: str, tmp_path: Path) -> None:
    loader = DataLoader(None, tmp_path / "cache")
    assert [row["docid"] for row in loader.rows(web(address, "/qrels.txt"))] == ["11", "12"]
    [source] = loader.sources
    assert (source.path, len(source.sha256)) == (f"{address}/qrels.txt", 64)
    offline = DataLoader(None, tmp_path / "cache", offline=True)
    assert [row["relevance"] for row in offline.rows(web(address, "/qrels.txt"))] == ["1", "0"]
    [kept] = (tmp_path / "cache").glob("*.ssv")
    kept.write_bytes(ROWS.replace(b"12", b"13"))
    with pytest.raises(DataError, match=r"changed since it was loaded from http.*qrels\.txt"):
        DataLoader(None, tmp_path / "cache").rows(web(address, "/qrels.txt"))


def test_it_may_be_packed_and_lie_elsewhere(address: str, tmp_path: Path) -> None:
    loader = DataLoader(None, tmp_path / "cache")
    assert [row["text"] for row in loader.rows(web(address, "/q.tsv.gz", "q.tsv.gz"))] == ["why?"]
    assert len(list(loader.rows(web(address, "/moved")))) == 2


@pytest.mark.parametrize(
    ("path", "why"), [("/none", "404"), ("/busy", "503"), ("/short.txt", "RemoteProtocolError")]
)
def test_what_is_not_to_be_had_is_told_and_nothing_is_kept(
    path: str, why: str, address: str, tmp_path: Path
) -> None:
    loader = DataLoader(None, tmp_path / "cache")
    with pytest.raises(NotFound, match=f"data not available: {address}{path}: .*{why}"):
        loader.rows(web(address, path))
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(NotFound, match="no network is asked"):
        DataLoader(None, tmp_path / "cache", offline=True).rows(web(address, path))


def test_a_local_file_comes_first(address: str, tmp_path: Path) -> None:
    (tmp_path / "mine.ssv").write_bytes(b"1 0 2 3\n")
    loader = DataLoader(tmp_path, tmp_path / "cache")
    local = Local(path="mine.ssv", columns=COLUMNS)
    assert [row["qid"] for row in loader.rows(web(address, "/qrels.txt"), local)] == ["1"]


def test_the_first_rows_of_a_data_set_are_kept_apart_from_all(tmp_path: Path) -> None:
    from commonweal.evals.loading.cache import RowCache

    cache = RowCache(tmp_path)
    whole, first = Hub(path="a/b", revision="c"), Hub(path="a/b", revision="c", first=5)
    list(cache.keeping(whole, "c", iter([{"x": 1}])))
    assert cache.find(whole) is not None
    assert cache.find(first) is None
