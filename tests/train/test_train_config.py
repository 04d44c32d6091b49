"""Job files: the shortest works, and every mistake is answered with its field and what to do."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.config import from_table
from commonweal.core.errors import ConfigError
from commonweal.train.config import TrainSettings, load_job

SHORT = """\
name = "tales"
[data]
kind = "files"
path = "texts/*.txt"
[train]
tokens = 20_000_000
"""


def test_six_lines_are_a_job(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(SHORT)
    settings = load_job(tmp_path / "job.toml")
    assert settings.train.tokens == 20_000_000
    assert settings.rounds.codec_up == "int4"
    assert settings.model.model_type == "llama"


def test_resolved_settings_survive_json() -> None:
    table = {
        "name": "x",
        "train": {"steps": 10},
        "model": {"checkpoint": "some/model", "lora": {"targets": ["q_proj", "v_proj"]}},
    }
    settings = from_table(table, TrainSettings, where="job")
    assert TrainSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("train", {"stepps": 5}, "did you mean 'steps'"),
        ("rounds", {"codec_up": "cocktail"}, "codec_up: cocktail is for a meeting at every step"),
        ("rounds", {"codec_down": "cocktail:mask=0.2"}, "last_inner_steps to 1"),
        (
            "rounds",
            {"codec_up": "cocktail", "first_inner_steps": 1, "last_inner_steps": 1},
            "set plan to false",
        ),
        ("train", {}, "steps: set either"),
        ("train", {"steps": 5, "tokens": 5}, "steps: set either"),
        ("train", {"steps": 0}, "steps: must be at least 1"),
        ("train", {"steps": 5, "seq_len": 1}, "seq_len: must be at least 2"),
        ("train", {"steps": 5, "lr": -1.0}, "lr: must be above 0"),
        ("train", {"steps": 5, "lr": float("inf")}, "lr: must be above 0"),
        ("train", {"steps": 5, "lr": float("nan")}, "lr: must be above 0"),
        ("train", {"steps": 5, "batch_size": "8"}, "batch_size: expected int"),
        ("train", {"steps": 5, "warmup": 1.0}, "warmup: a share"),
        ("train", {"steps": 5, "weight_decay": float("nan")}, "weight_decay: must be between"),
        ("train", {"steps": 5, "seed": -1}, "seed: must be between"),
        ("rounds", {"codec_up": "int5"}, "did you mean 'int8'"),
        ("rounds", {"codec_down": "topk:density=2"}, "density must be above 0"),
        ("rounds", {"outer_momentum": 1.0}, "outer_momentum: must be"),
        ("rounds", {"outer_lr": float("nan")}, "outer_lr: must be"),
        ("rounds", {"max_members": 0}, "max_members: must be between"),
        ("rounds", {"quorum": 65}, "quorum: must not be above max_members"),
        ("rounds", {"first_inner_steps": 9, "last_inner_steps": 8}, "last_inner_steps: must not be below"),
        ("rounds", {"growth": 0.0}, "growth: a share"),
        ("rounds", {"comm_share": 1.5}, "comm_share: a share"),
        ("rounds", {"seconds": -1.0}, "seconds: must be"),
        ("rounds", {"weights": "size"}, "is not one of 'equal', 'tokens'"),
        ("rounds", {"fragments": 0}, "fragments: must be at least 1"),
        ("checks", {"norm_limit": 0.5}, "norm_limit: must be above 1"),
        ("checks", {"tolerance": 1.0}, "tolerance: a fraction"),
        ("checks", {"score_batches": 0}, "score_batches: must be at least 1"),
        ("checkpoints", {"keep": 0}, "keep: must be at least 1"),
        ("pay", {"per_1000_tokens": -1}, "per_1000_tokens: must be between"),
        ("model", {"lora": {"rank": 4}}, "lora: adapters need a checkpoint"),
        ("tokenizer", {"vocab_size": 10}, "vocab_size: must be between"),
        ("data", {"kind": "files"}, "path: the kind 'files' needs one"),
    ],
)
def test_a_mistake_is_named(section: str, values: dict[str, Any], said: str) -> None:
    table: dict[str, Any] = {"name": "x", "train": {"steps": 5}}
    table[section] = values
    with pytest.raises(ConfigError) as caught:
        from_table(table, TrainSettings, where="job.toml")
    assert said in str(caught.value)
    assert "job.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "two\nlines"])
def test_a_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(ConfigError, match="name: 1 to 80"):
        from_table({"name": name, "train": {"steps": 5}}, TrainSettings, where="job.toml")


def test_every_section_has_defaults() -> None:
    """Only what nobody can guess must be said: a name, and when to stop."""
    required = {f.name for f in fields(TrainSettings) if f.name not in ("name", "train")}
    settings = from_table({"name": "x", "train": {"steps": 5}}, TrainSettings, where="job.toml")
    assert all(is_dataclass(getattr(settings, n)) or getattr(settings, n) is None for n in required)
