"""docs/finetuning.md says what the code does: formats, codes, limits, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from tuning_world import chats, make_base, tasks

from commonweal.data.conversations.examples import Method
from commonweal.data.conversations.problems import KEPT, Code
from commonweal.data.conversations.reading import read_examples
from commonweal.train.tuning.checking import LEAST_EXAMPLES
from commonweal.train.tuning.hyperparameters import MOST_BATCH, MOST_EPOCHS, USUAL_RANK

PAGE = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
METHODS: tuple[Method, ...] = ("supervised", "supervised", "supervised", "dpo", "kto")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.M | re.S)


@pytest.mark.parametrize(("block", "method"), list(zip(blocks("jsonl"), METHODS, strict=True)))
def test_the_formats_are_read(block: str, method: Method) -> None:
    result = read_examples(block.encode(), method)
    assert not result.problems.first
    assert len(result.examples) == 1


def test_every_code_is_there_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Mistakes")[1].split("## Hyper")[0], flags=re.M)
    assert sorted(listed) == sorted(get_args(Code))


def test_the_limits_are_those_of_the_code() -> None:
    assert f"| 1 to {MOST_EPOCHS} |" in PAGE
    assert f"| 1 to {MOST_BATCH} |" in PAGE
    assert f"| `rank` | {USUAL_RANK}," in PAGE
    assert f"at least {LEAST_EXAMPLES} of them" in PAGE
    assert f"the first {KEPT} with" in PAGE


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    make_base(tmp_path / "made", steps=1).rename(tmp_path / "models" / "demo")
    (tmp_path / "train.jsonl").write_bytes(chats(tasks(1, 20)))
    found: dict[str, object] = {}
    exec(blocks("python")[0], found)
    assert found["made"].job.tokens > 0  # type: ignore[attr-defined]
