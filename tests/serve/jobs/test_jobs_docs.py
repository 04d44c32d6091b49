"""The examples of docs/jobs-api.md, run in the order of the page against the real routes."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
from job_api import add_model, running_api

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.serve.api.batch_asking import answerer
from commonweal.serve.batches.loop import Batcher
from tuning_fakes import FakeTrainer

PAGE = Path(__file__).parents[3] / "docs" / "jobs-api.md"


def test_the_examples_run(
    database: Database, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    assert len(examples) == 7
    (tmp_path / "train.jsonl").write_bytes(b'{"text": "one"}\n')
    monkeypatch.chdir(tmp_path)
    add_model(database, blobs)
    with running_api(database, blobs, trainer=FakeTrainer(blobs)) as api:
        names: dict[str, Any] = {}
        for example in examples:
            if "output_file_id" in example:
                serve = api.serve
                batcher = Batcher(serve.database, blobs, answerer(serve), serve.clock)
                asyncio.run(batcher.drive(names["batch"].id))
            code = example.replace("http://127.0.0.1:8000", api.url).replace("cw-...", "key-ann")
            exec(compile(code, str(PAGE), "exec"), names)
        assert names["estimate"]["steps"] == 4
        assert names["preview"]["examples"] == 1
        assert names["answer"]["custom_id"] == "question-2"
        assert names["job"].created_at <= time.time()
