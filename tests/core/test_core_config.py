"""Settings: every mistake is named with its file, its field and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.config import from_table, load_toml
from commonweal.core.errors import CommonwealError, ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    mode: Literal["fast", "slow"] = "fast"

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate: must be between 0 and 1")


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 10
    dry: bool = False
    limit: int | None = None
    sources: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    inners: list[Inner] = field(default_factory=list)
    free: dict[str, Any] = field(default_factory=dict)


def test_everything_that_toml_has(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(
        'name = "x"\nsteps = 3\ndry = true\nlimit = 7\nsources = ["a", "b"]\nfree = {any = [1, "two"]}\n'
        '[inner]\nrate = 1\nmode = "slow"\n[[inners]]\nrate = 0.25\n'
    )
    assert load_toml(file, Outer) == Outer(
        name="x",
        steps=3,
        dry=True,
        limit=7,
        sources=("a", "b"),
        inner=Inner(rate=1.0, mode="slow"),
        inners=[Inner(rate=0.25)],
        free={"any": [1, "two"]},
    )


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({"nam": "x"}, "job.toml: unknown key 'nam'", "did you mean 'name'?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz'", "known keys: dry, free, inner"),
        ({}, "job.toml: missing key 'name'", "add name = ..."),
        ({"name": 3}, "job.toml: name: expected str, got int 3", None),
        ({"name": "x", "steps": "3"}, "job.toml: steps: expected int, got str '3'", None),
        ({"name": "x", "steps": 3.0}, "steps: expected int, got float", None),
        ({"name": "x", "steps": True}, "steps: expected int, got bool True", None),
        ({"name": "x", "dry": 1}, "dry: expected bool", None),
        ({"name": "x", "limit": "no"}, "limit: expected int", None),
        ({"name": "x", "sources": "a"}, "sources: expected a list", None),
        ({"name": "x", "sources": ["a", 1]}, "sources[1]: expected str", None),
        ({"name": "x", "inner": 5}, "inner: expected a table", None),
        ({"name": "x", "inner": {"rat": 1}}, "job.toml: inner: unknown key 'rat'", "did you mean 'rate'?"),
        (
            {"name": "x", "inner": {"mode": "medium"}},
            "inner: mode: 'medium' is not one of 'fast', 'slow'",
            None,
        ),
        ({"name": "x", "inner": {"rate": 2.0}}, "job.toml: inner: rate: must be between 0 and 1", None),
        ({"name": "x", "inners": [{}, {"rate": True}]}, "inners[1]: rate: expected float", None),
        ({"name": "x", "free": []}, "free: expected a table", None),
    ],
)
def test_a_mistake_names_the_field(table: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(table, Outer, where="job.toml")
    assert message in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name = ", "not valid TOML"), (b"\xff", "not UTF-8 (byte 0)"), (b"a = 1\na = 2", "not valid TOML")],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "job.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"job\.toml") as caught:
        load_toml(file, Outer)
    assert said in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_toml(tmp_path / "none.toml", Outer)
    with pytest.raises(ConfigError, match="is a folder"):
        load_toml(tmp_path, Outer)


values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["name", "steps", "inner", "inners", "free", "other"]), values))
def test_any_table_is_read_or_refused_by_name(table: dict[str, Any]) -> None:
    try:
        read = from_table(table, Outer, where="job.toml")
    except CommonwealError as error:
        said = error.message
    else:
        said = f"job.toml: {read.name.upper()} {read.steps.bit_length()}"  # they are what they should be
    assert said.startswith("job.toml: ")
