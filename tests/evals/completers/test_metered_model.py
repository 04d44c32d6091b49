"""The energy of a local model's answers, from the meter to the table and to ``run.json``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny_models

from commonweal.commands.evaluating import EvalOptions, run_eval
from commonweal.core.completion import Completion, Request
from commonweal.evals.completers import local
from commonweal.evals.completers.local import LocalCompleter
from commonweal.evals.energy.meter import Energy
from commonweal.evals.plan import Wishes


class Ticking:
    """A joule passes from each reading to the next."""

    method = "ticking"

    def __init__(self) -> None:
        self.read = 0

    def joules(self) -> float:
        self.read += 1
        return float(self.read)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_llama(tmp_path_factory.mktemp("metered"))


def answers(folder: Path, meter: Any, *requests: Request) -> tuple[list[Completion], Energy]:
    asked_of: list[tuple[str, str]] = []

    def meter_of(kind: str, uuid: str) -> Any:
        asked_of.append((kind, uuid))
        return meter

    async def run() -> tuple[list[Completion], Energy]:
        completer = LocalCompleter(str(folder), local.LocalOptions(device="cpu"), meter_of=meter_of)
        try:
            return list(await asyncio.gather(*map(completer.complete, requests))), completer.energy
        finally:
            await completer.close()

    made = asyncio.run(run())
    assert asked_of == [("cpu", "")]
    return made


def test_a_batchs_joules_are_its_answers(folder: Path) -> None:
    written = [
        Request(model="m", prompt=text, max_tokens=4) for text in ("The sky is", "What is the capital?")
    ]
    found, energy = answers(folder, Ticking(), *written)
    assert energy == Energy(method="ticking")
    assert sum(one.joules or 0.0 for one in found) == pytest.approx(1.0), "one batch, one joule"
    tokens = [(one.prompt_tokens or 0) + (one.completion_tokens or 0) for one in found]
    assert [one.joules for one in found] == pytest.approx([n / sum(tokens) for n in tokens])
    scored = Request(model="m", kind="score", prompt="The sky is", continuation=" blue", max_tokens=0)
    [one], _ = answers(folder, Ticking(), scored)
    assert one.joules == pytest.approx(1.0)


def test_without_a_meter_nothing_is_made_up(folder: Path) -> None:
    [one], energy = answers(
        folder, Energy(reason="no energy meter: none"), Request(model="m", prompt="The sky is", max_tokens=2)
    )
    assert (one.joules, energy.reason) == (None, "no energy meter: none")


@pytest.mark.parametrize("meter", [Ticking(), Energy(reason="the energy meter may not be read")])
def test_a_run_says_what_it_took_or_why_that_is_not_known(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meter: Any, capsys: Any
) -> None:
    known = LocalCompleter.__init__.__kwdefaults__
    monkeypatch.setitem(known, "meter_of", lambda kind, uuid: meter)
    wishes = Wishes(model=str(folder), scenarios=("arithmetic",), max_instances=4, shots=0)
    options = EvalOptions(
        home=tmp_path / "home",
        out=tmp_path / "runs",
        key_of=lambda text: None,
        judge_key_of=lambda text: None,
    )
    assert run_eval(wishes, options) == 0
    [path] = (tmp_path / "runs").rglob("run.json")
    told = json.loads(path.read_text())
    rows = pq.read_table(path.with_name("stats.parquet")).to_pylist()
    [energy] = [row for row in rows if row["name"] == "energy" and not row["subset"]]
    if isinstance(meter, Energy):
        assert (energy["mean"], energy["reason"]) == (None, meter.reason)
        assert told["environment"]["energy"] == f"not measured: {meter.reason}"
        assert told["cost"]["joules"] is None
        return
    assert told["environment"]["energy"] == "ticking"
    assert told["cost"]["joules"] == pytest.approx(energy["mean"] * energy["n"])
    assert " J, " in " ".join(capsys.readouterr().out.split())
