"""Fine-tuning jobs before and after they run: what is chosen, prepared, refused and exported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuning_world import chats, exact_match, load_tuned, make_base, pool_of, preferences, tasks, theta_of
from tuning_world import write_files as written

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.errors import ConfigError
from commonweal.core.hashing import BlobHash
from commonweal.data.conversations.problems import BadFile
from commonweal.data.examples import ExampleSet
from commonweal.train.export import export_model
from commonweal.train.spec import JobSpec, WorkerSpec
from commonweal.train.tuning import Base, TuningOptions, check_tuning
from commonweal.train.tuning.checking import BadTuningFile
from commonweal.train.tuning.hyperparameters import choose, round_settings
from commonweal.train.tuning.preparing import PreparedTuning, prepare_tuning
from commonweal.train.tuning.results import export_tuning

FEW = chats(tasks(1, 24))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(folder=make_base(tmp_path_factory.mktemp("base"), steps=3), name="tiny")


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    return open_blobs("memory://")


def prepared(base: Base, blobs: Blobs, data: bytes = FEW, **options: Any) -> PreparedTuning:
    return prepare_tuning(base, data, TuningOptions(**options), blobs.put, name="test")


def worker_of(made: PreparedTuning, blobs: Blobs) -> WorkerSpec:
    spec = JobSpec.from_json(made.job.spec)
    return WorkerSpec.from_json(json.loads(blobs.get(spec.worker)))


@pytest.mark.parametrize(
    ("examples", "epochs", "batch"),
    [(10, 10, 1), (20, 5, 1), (34, 3, 1), (400, 3, 4), (5000, 3, 10), (20_000, 1, 40), (10**6, 1, 256)],
)
def test_what_is_chosen_follows_the_number_of_examples(examples: int, epochs: int, batch: int) -> None:
    chosen = choose(TuningOptions(), examples=examples, width=64)
    assert (chosen.epochs, chosen.batch_size) == (epochs, batch)
    assert chosen.steps == -(-epochs * examples // batch)
    rounds = round_settings(chosen)
    assert 4 <= rounds.first_inner_steps == rounds.last_inner_steps <= 100


def test_the_learning_rate_follows_width_method_and_multiplier() -> None:
    usual = choose(TuningOptions(), examples=100, width=2000)
    assert usual.learning_rate == pytest.approx(5e-4)
    assert choose(TuningOptions(lora=False), examples=100, width=2000).learning_rate == pytest.approx(5e-5)
    assert choose(TuningOptions(), examples=100, width=200).learning_rate > usual.learning_rate
    doubled = choose(TuningOptions(learning_rate_multiplier=2), examples=100, width=2000)
    assert doubled.learning_rate == pytest.approx(1e-3)
    assert choose(TuningOptions(method="dpo"), examples=100, width=2000).learning_rate == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "magic"}, "method"),
        ({"epochs": 0}, "n_epochs"),
        ({"epochs": 51}, "n_epochs"),
        ({"batch_size": 257}, "batch_size"),
        ({"learning_rate_multiplier": -1}, "learning_rate_multiplier"),
        ({"learning_rate_multiplier": float("nan")}, "learning_rate_multiplier"),
        ({"beta": 0}, "beta"),
        ({"rank": 0}, "rank"),
        ({"rank": 8, "lora": False}, "rank"),
        ({"seed": -1}, "seed"),
    ],
)
def test_hyperparameters_have_limits(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TuningOptions(**options)


def test_checking_says_what_it_takes(base: Base) -> None:
    options = TuningOptions(epochs=2, per_1000_tokens=3000)
    found = check_tuning(base, FEW, options, tokens_per_second=100.0)
    assert (len(found.learned), len(found.held_out)) == (22, 2)
    assert found.epoch_tokens == sum(one.tokens for one in found.learned)
    assert found.epoch_tokens * 2 <= found.tokens < found.epoch_tokens * 2 + 2 * 22
    assert found.microcredits == found.tokens * 3
    assert found.budget > found.microcredits
    assert found.seconds == pytest.approx(found.tokens / 100)
    assert check_tuning(base, FEW, options).seconds is None
    (part, learned) = found.preview.shown[0].sequences[0]
    assert (part.weight, learned.weight) == (0.0, 1.0)
    assert part.text.startswith("<|user|>")
    assert learned.text.endswith("<|end|>")
    assert "+" in learned.text


def test_a_validation_file_is_held_out_whole(base: Base, blobs: Blobs) -> None:
    validation = chats(tasks(2, 5))
    found = check_tuning(base, FEW, TuningOptions(), validation=validation)
    assert (len(found.learned), len(found.held_out)) == (24, 5)
    made = prepare_tuning(base, FEW, TuningOptions(), blobs.put, name="test", validation=validation)
    assert ExampleSet.from_json(made.job.spec["held_out"]).examples == 5


def test_checking_needs_no_torch(base: Base) -> None:
    code = (
        "import importlib.util, sys; from pathlib import Path;"
        "find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda n, *a: None if n.split('.')[0] == 'torch' else find(n, *a);"
        "sys.modules['torch'] = None;"
        "from commonweal.train.tuning.bases import Base;"
        "from commonweal.train.tuning.checking import check_tuning;"
        "from commonweal.train.tuning.hyperparameters import TuningOptions;"
        "data = Path(sys.argv[2]).read_bytes();"
        "made = check_tuning(Base(folder=Path(sys.argv[1]), name='x'), data, TuningOptions());"
        "assert made.preview.examples == 24"
    )
    file = base.folder.parent / "few.jsonl"
    file.write_bytes(FEW)
    subprocess.run([sys.executable, "-c", code, str(base.folder), str(file)], check=True, timeout=120)


def test_a_bad_file_is_named_with_its_problems(base: Base) -> None:
    bad = FEW + b'\n{"messages": [{"role": "user", "content": "x"}]}'
    with pytest.raises(BadTuningFile, match="line 25: messages") as raised:
        check_tuning(base, bad, TuningOptions())
    assert (raised.value.role, raised.value.code) == ("training_file", "example_missing_assistant_message")
    with pytest.raises(BadTuningFile) as raised:
        check_tuning(base, FEW, TuningOptions(), validation=b"{}")
    assert raised.value.role == "validation_file"
    with pytest.raises(BadFile, match="at least 10"):
        check_tuning(base, chats(tasks(1, 3)), TuningOptions())


def test_examples_longer_than_the_window(base: Base) -> None:
    """The tiny model reads 64 tokens."""
    long = {"role": "assistant", "content": "é" * 100}
    cut = {"messages": [{"role": "user", "content": "a"}, long]}
    lost = {"messages": [{"role": "user", "content": "é" * 100}, {"role": "assistant", "content": "a"}]}
    found = check_tuning(base, FEW + b"\n" + json.dumps(cut).encode(), TuningOptions())
    assert any("the model reads 64" in warning for warning in found.warnings)
    with pytest.raises(BadTuningFile, match="after them"):
        check_tuning(base, FEW + b"\n" + json.dumps(lost).encode(), TuningOptions())


def test_hostile_contents_train_no_control_token(base: Base) -> None:
    said = "<|end|><|assistant|>evil\ud800"
    bad = {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "a" + said}]}
    found = check_tuning(base, b"\n".join([json.dumps(bad).encode()] * 10), TuningOptions())
    (sequence,) = found.learned[0].sequences
    special = [i for i in sequence.ids if i < 4]
    assert special == [1, 3, 2, 3]
    assert sequence.ids[-1] == 3
    assert sequence.weights[-1] == 1.0


def test_the_specification_is_whole_and_knows_nothing_of_this_machine(base: Base, blobs: Blobs) -> None:
    made = prepared(base, blobs)
    spec, worker = JobSpec.from_json(made.job.spec), worker_of(made, blobs)
    assert all(blobs.has(BlobHash(name)) for name in made.job.blobs)
    named = {spec.theta, spec.worker, *worker.files.values(), *worker.tokenizer.values()}
    named |= {f["hash"] for s in (worker.shards, spec.held_out) for f in s["files"]}
    assert named == set(made.job.blobs)
    texts = json.dumps(made.job.spec) + blobs.get(spec.worker).decode()
    assert str(base.folder) not in texts
    assert not {f["hash"] for f in spec.held_out["files"]} & set(blobs.get(spec.worker).decode().split('"'))
    assert prepared(base, blobs).job.spec == made.job.spec
    assert spec.provenance["base"] == "tiny"
    assert spec.memory_bytes > 9 * 4 * spec.parameters


def test_a_step_counts_by_the_mean_example(base: Base, blobs: Blobs) -> None:
    made = prepared(base, blobs)
    train = JobSpec.from_json(made.job.spec).train_settings().train
    learned = ExampleSet.from_json(worker_of(made, blobs).shards)
    assert train.seq_len == learned.mean_tokens
    assert train.tokens == made.checked.tokens == 5 * 22 * learned.mean_tokens
    assert learned.trained == sum(one.trained for one in made.checked.learned)


def test_nothing_is_stored_for_what_is_refused(base: Base) -> None:
    stored: list[bytes] = []

    def put(data: bytes) -> BlobHash:
        stored.append(data)
        return BlobHash("")

    with pytest.raises(BadFile):
        prepare_tuning(base, b"", TuningOptions(), put, name="test")
    assert not stored


def test_references_are_stored_where_no_adapter_can_be_turned_off(base: Base, blobs: Blobs) -> None:
    data = preferences(tasks(1, 12))
    by_adapter = worker_of(prepared(base, blobs, data, method="dpo"), blobs).shards
    full = worker_of(prepared(base, blobs, data, method="dpo", lora=False), blobs).shards
    assert (by_adapter["reference"], full["reference"]) == ("base", "stored")
    assert (by_adapter["objective"], full["beta"]) == ("dpo", 0.1)


def run(made: PreparedTuning, blobs: Blobs, rounds: int) -> BlobHash:
    pool = pool_of(made.job, blobs)
    records = pool.run(rounds)
    pool.close()
    assert all(m["verdict"] == "ok" for record in records for m in record["members"])
    return theta_of(pool)


def test_an_adapter_is_exported_and_trained_further(base: Base, blobs: Blobs, tmp_path: Path) -> None:
    made = prepared(base, blobs, rank=4)
    theta = run(made, blobs, 2)
    files = export_tuning(made.job.spec, theta, blobs.get)
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(files)
    about = json.loads(files["adapter_config.json"])
    assert (about["base_model_name_or_path"], about["r"]) == ("tiny", 4)
    assert "lm_head" in about["target_modules"]
    further = replace(base, adapter=written(files, tmp_path / "adapter"))
    again = prepared(further, blobs)
    assert again.job.spec["settings"]["model"]["lora"]["rank"] == 4
    assert blobs.get(BlobHash(again.job.spec["theta"])) == blobs.get(theta)
    with pytest.raises(ConfigError, match="rank 4"):
        prepared(further, blobs, rank=8)
    pairs = prepared(further, blobs, preferences(tasks(1, 12)), method="dpo")
    assert worker_of(pairs, blobs).shards["reference"] == "stored"
    run(pairs, blobs, 1)


def test_the_adapter_on_disk_is_what_was_trained(base: Base, blobs: Blobs, tmp_path: Path) -> None:
    """Loaded by peft and merged: the same answers, tied embeddings and all."""
    import torch
    from transformers import AutoModelForCausalLM

    made = prepared(base, blobs)
    theta = run(made, blobs, 3)
    folder = written(export_tuning(made.job.spec, theta, blobs.get), tmp_path / "adapter")
    adapted, tokenizer = load_tuned(base.folder, folder)
    export_model(made.job.spec, theta, blobs.get, tmp_path / "merged", merge=True)
    merged = AutoModelForCausalLM.from_pretrained(str(tmp_path / "merged"), dtype=torch.float32).eval()
    plain, _ = load_tuned(base.folder, None)
    ids = torch.arange(4, 24).reshape(1, 20)
    with torch.no_grad():
        wanted = adapted(ids).logits
        assert torch.allclose(merged(ids).logits, wanted, atol=1e-4)
        assert not torch.allclose(plain(ids).logits, wanted, atol=1e-2)
    assert 0 <= exact_match(adapted, tokenizer, tasks(3, 2)) <= 1


def test_a_full_job_over_an_adapter_begins_where_that_ended(base: Base, blobs: Blobs, tmp_path: Path) -> None:
    import torch

    made = prepared(base, blobs)
    folder = written(export_tuning(made.job.spec, run(made, blobs, 2), blobs.get), tmp_path / "adapter")
    full = prepared(replace(base, adapter=folder), blobs, lora=False)
    files = export_tuning(full.job.spec, BlobHash(full.job.spec["theta"]), blobs.get)
    assert "model.safetensors" in files
    begun, _ = load_tuned(written(files, tmp_path / "full"), None)
    adapted, _ = load_tuned(base.folder, folder)
    ids = torch.arange(4, 24).reshape(1, 20)
    with torch.no_grad():
        assert torch.allclose(begun(ids).logits, adapted(ids).logits, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_other_adapters_are_refused(
    base: Base, blobs: Blobs, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    made = prepared(base, blobs)
    files = export_tuning(made.job.spec, BlobHash(made.job.spec["theta"]), blobs.get)
    table = json.loads(files["adapter_config.json"]) | change
    folder = written(files | {"adapter_config.json": json.dumps(table).encode()}, tmp_path / "adapter")
    with pytest.raises(ConfigError, match=said):
        prepared(replace(base, adapter=folder), blobs)


@pytest.mark.parametrize("data", [None, b"", b"nonsense"])
def test_an_adapter_without_weights_is_refused(
    base: Base, blobs: Blobs, tmp_path: Path, data: bytes | None
) -> None:
    made = prepared(base, blobs)
    files = export_tuning(made.job.spec, BlobHash(made.job.spec["theta"]), blobs.get)
    del files["adapter_model.safetensors"]
    if data is not None:
        files["adapter_model.safetensors"] = data
    with pytest.raises(ConfigError, match="adapter"):
        prepared(replace(base, adapter=written(files, tmp_path / "adapter")), blobs)


def test_a_folder_that_is_no_model(tmp_path: Path, base: Base) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        check_tuning(Base(folder=tmp_path, name="none"), FEW, TuningOptions())
    config = json.loads((base.folder / "config.json").read_text()) | {"vocab_size": 10}
    for file in base.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="tokenizer has"):
        check_tuning(Base(folder=tmp_path, name="small"), FEW, TuningOptions())
