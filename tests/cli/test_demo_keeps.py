"""A demo that is to go on goes on until ctrl-c, and no longer than what it started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from commonweal.commands import demo
from commonweal.commands.stage import DemoFailed


def stage(ends: BaseException) -> Any:
    """A stage on which all is well twice, and then not."""
    looks = iter((None, None, ends))

    def check() -> None:
        if (found := next(looks)) is not None:
            raise found

    return SimpleNamespace(url="http://127.0.0.1:8400", folder=Path("demo-run"), check=check)


def test_it_says_where_to_look_and_ends_at_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_LOOK_SECONDS", 0.0)
    demo._go_on(stage(KeyboardInterrupt()))
    told = capsys.readouterr().out
    for address in ("http://127.0.0.1:8400/ ", "http://127.0.0.1:8400/pool/index.html", "demo-run/admin.key"):
        assert address in told
    assert max(map(len, told.splitlines())) <= 80


def test_it_ends_when_something_of_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_LOOK_SECONDS", 0.0)
    with pytest.raises(DemoFailed):
        demo._go_on(stage(DemoFailed("the hub ended unexpectedly")))
