"""The tree of errors is what its module says, and every error can be shown and sent."""

from __future__ import annotations

import re

import pytest

from commonweal.core import errors
from commonweal.core.errors import CommonwealError, Overloaded


def every(base: type[CommonwealError] = CommonwealError) -> list[type[CommonwealError]]:
    mine = [c for c in base.__subclasses__() if c.__module__ == errors.__name__]
    return [base, *(found for child in mine for found in every(child))]


def test_the_documented_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    documented: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"( {4,})([A-Z]\w+)(?: {2,}|$)", line):
            path = [*path[: (len(found[1]) - 4) // 2], found[2]]
            documented[found[2]] = path[-2] if len(path) > 1 else ""
    real = {e.__name__: "" if e is CommonwealError else e.__base__.__name__ for e in every()}
    assert documented == real


@pytest.mark.parametrize("kind", every(), ids=lambda e: e.__name__)
def test_every_error_can_be_shown_and_sent(kind: type[CommonwealError]) -> None:
    error = kind("what is wrong", hint="what to do")
    assert str(error) == "what is wrong\n  what to do"
    assert str(kind("only this")) == "only this"
    assert re.fullmatch(r"[a-z_]+", kind.code)
    assert 400 <= kind.status < 600
    assert 1 <= kind.exit_code < 64


def test_codes_of_errors_that_a_client_tells_apart_differ() -> None:
    codes = [e.code for e in every()]
    assert len(set(codes)) == len(codes)


def test_overloaded_says_when_to_come_back() -> None:
    assert Overloaded("busy", retry_after=7).retry_after == 7
