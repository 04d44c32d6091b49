"""A reader of pages in a real Chromium: what it sees, and all that goes wrong meanwhile.

``axe`` runs axe-core over a page as it stands and gives the findings that keep somebody from using it.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"
GRAVE = ("serious", "critical")
ARTICLES = 3
"""Of a page with fifty like articles axe-core looks at the first ones: the others would take it half a minute."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Any web host: it knows nothing but the files."""

    def log_message(self, *_: Any) -> None: ...

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a web host that has the files of a folder."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """One browser. While it is there this thread has an event loop, so tests beside it may not start one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A page, and what went wrong in it: anything on the console, any error, any request to another place."""

    def __init__(self, context: Any, root: str) -> None:
        self.root = root
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(f"{self.page.url}: {message.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"{self.page.url}: {error}"))
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.root):
            self.troubles.append(f"{self.page.url}: asked for {request.url}")

    def open(self, path: str) -> None:
        answer = self.page.goto(self.root + path)
        assert answer is None or answer.ok, f"{path}: {answer.status}"

    def names(self) -> list[str]:
        """The models of the board as they stand, from above."""
        return [one.inner_text() for one in self.page.locator("tbody th a").all() if one.is_visible()]


@functools.cache
def _axe() -> str:
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def axe(page: Any, only: Sequence[str] = ()) -> list[str]:
    """What axe-core finds serious or critical on a page, a line each; ``only`` are the rules that are asked, all where
    it is empty."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_axe())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if only:
        options["runOnly"] = {"type": "rule", "values": list(only)}
    context = {"include": [["html"]], "exclude": [[f"article:nth-of-type(n+{ARTICLES + 1})"]]}
    found = page.evaluate("([context, options]) => axe.run(context, options)", [context, options])
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"][:3]
    ]
