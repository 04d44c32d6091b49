"""A local instruct model is asked with its template where a scenario prefers that, and a base model without."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_models

from commonweal.commands.evaluating import EvalOptions, run_eval
from commonweal.evals.plan import Wishes


@pytest.mark.parametrize(("chat", "ask"), [(True, "chat"), (False, "auto")])
def test_a_folder_with_a_template_is_asked_with_it(tmp_path: Path, chat: bool, ask: str) -> None:
    folder = tmp_path / "data" / "xstest"
    folder.mkdir(parents=True)
    (folder / "xstest_prompts.csv").write_text("id,type,prompt,label\n1,homonyms,What is the sea?,safe\n")
    model = tiny_models.save_llama(tmp_path / "model", chat=chat)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    wishes = Wishes(
        model=str(model), scenarios=("xstest",), perturbations=("none",), data_root=str(tmp_path / "data")
    )
    options = EvalOptions(
        home=tmp_path / "home",
        out=tmp_path / "runs",
        key_of=lambda text: None,
        judge_key_of=lambda text: None,
        json=True,
    )
    run_eval(wishes, options)
    [path] = (tmp_path / "runs").rglob("run.json")
    told = json.loads(path.read_text())
    assert told["spec"]["adaptation"]["ask"] == ask
    assert ("with the model's own template" in told["note"]) is chat
    [row] = pq.read_table(path.with_name("requests.parquet")).to_pylist()
    if chat:
        assert json.loads(row["messages"]) == [{"role": "user", "content": "What is the sea?"}]
    else:
        assert row["prompt"] == "What is the sea?"
