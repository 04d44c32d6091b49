"""The file of ``commonweal hub --community``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from commonweal.core.config import load_toml
from commonweal.core.errors import ConfigError
from commonweal.serve.community.scrubbing import PatternScrubber
from commonweal.serve.community.settings import CommunitySettings, parts


def written(folder: Path, text: str) -> CommunitySettings:
    (folder / "community.toml").write_text(text)
    return load_toml(folder / "community.toml", CommunitySettings)


def test_phrases_of_its_own_are_looked_for_beside_the_default_ones(tmp_path: Path) -> None:
    made = parts(written(tmp_path, "[phrases]\nrivals = ['\\bacme\\b']\n"))
    assert made.moderator.flags("I like Ácme.", "prompt") == ("rivals",)
    assert made.moderator.flags("kill yourself", "answer") == ("self_harm",)
    assert made.moderator.flags("a kind word", "answer") == ()
    assert isinstance(made.scrubber, PatternScrubber)


def test_a_kind_of_the_defaults_can_be_taken_out(tmp_path: Path) -> None:
    made = parts(written(tmp_path, "[phrases]\nself_harm = []\n"))
    assert made.moderator.flags("kill yourself", "answer") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[phrases]\nrivals = ['(']", "phrases.rivals: '\\(' is no regular expression"),
        ("[phrases]\nrivals = 'acme'", "phrases.rivals: not a list of texts"),
        ("scrub = 'presido'", "scrub"),
        ("phrase = 1", "unknown key 'phrase'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        written(tmp_path, text)


@pytest.mark.skipif(importlib.util.find_spec("presidio_analyzer") is not None, reason="Presidio is installed")
def test_presidio_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="presidio-analyzer is not installed"):
        parts(written(tmp_path, "scrub = 'presidio'"))
