"""Checkpoints and adapters: what is saved is what is loaded, whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from commonweal.core.errors import ConfigError, StorageFull
from commonweal.models import checkpoint
from commonweal.models.adapters import has_adapters
from commonweal.models.architecture import build, load_checkpoint
from commonweal.models.loss import next_token_loss
from commonweal.models.parameters import layout_of, read, write
from commonweal.models.settings import LoraSettings, ModelSettings


def batch() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 260, (2, 33)))


def with_adapters(folder: Path, *, seed: int = 3, **lora: Any) -> Any:
    settings = ModelSettings(checkpoint=str(folder), lora=LoraSettings(**lora))
    return build(settings, vocab_size=260, seq_len=32, seed=seed)


def test_a_saved_model_is_loaded_bit_for_bit(tiny: Any, tmp_path: Path, tokenizer_dir: Path) -> None:
    checkpoint.save(tiny, tmp_path / "m", tokenizer_dir=tokenizer_dir)
    names = {p.name for p in (tmp_path / "m").iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    loaded = load_checkpoint(str(tmp_path / "m"))
    layout = layout_of(tiny)
    assert layout_of(loaded) == layout
    assert read(loaded, layout).tobytes() == read(tiny, layout).tobytes()
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text())["eos_token_id"] == 0


def test_half_precision_is_loaded_as_float32(make_model: Any, tmp_path: Path) -> None:
    make_model().to(torch.bfloat16).save_pretrained(tmp_path / "m")
    model = build(ModelSettings(checkpoint=str(tmp_path / "m")), vocab_size=260, seq_len=32, seed=1)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_saving_replaces_the_folder(make_model: Any, tmp_path: Path) -> None:
    checkpoint.save(make_model(), tmp_path / "m")
    (tmp_path / "m" / "stray").write_text("x")
    model = make_model(seed=2)
    checkpoint.save(model, tmp_path / "m")
    layout = layout_of(model)
    assert (read(load_checkpoint(str(tmp_path / "m")), layout) == read(model, layout)).all()
    assert not (tmp_path / "m" / "stray").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_full_disk_keeps_the_old_model(
    make_model: Any, tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "m"
    checkpoint.save(make_model(), folder)
    before = (folder / "model.safetensors").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("commonweal.models.checkpoint.shutil.copyfile", full)
    with pytest.raises(StorageFull, match="no space left for the model"):
        checkpoint.save(make_model(seed=2), folder, tokenizer_dir=tokenizer_dir)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["m"]


def test_adapters_alone_train_and_change_nothing_at_first(
    tiny: Any, architecture: str, tmp_path: Path
) -> None:
    checkpoint.save(tiny, tmp_path / "m")
    model = with_adapters(tmp_path / "m")
    layout = layout_of(model)
    assert has_adapters(model)
    assert all("lora_" in entry.name for entry in layout.entries)
    assert layout.size < layout_of(tiny).size
    start = next_token_loss(model, batch())
    assert start.item() == pytest.approx(next_token_loss(tiny, batch()).item(), rel=1e-6)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        loss = next_token_loss(model, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < start.item() - 0.01
    frozen = {n: p for n, p in model.named_parameters() if "base_layer" in n}
    originals = dict(tiny.named_parameters())
    assert frozen
    for name, parameter in frozen.items():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert torch.equal(parameter, originals[plain])


def test_adapters_repeat_with_their_seed(make_model: Any, tmp_path: Path) -> None:
    checkpoint.save(make_model(), tmp_path / "m")
    one, two, other = (with_adapters(tmp_path / "m", seed=s) for s in (3, 3, 4))
    layout = layout_of(one)
    assert (read(one, layout) == read(two, layout)).all()
    assert (read(one, layout) != read(other, layout)).any()


def test_adapters_are_saved_in_pefts_format_and_merged(make_model: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    checkpoint.save(make_model(), tmp_path / "m")
    model = with_adapters(tmp_path / "m", targets=("q_proj", "v_proj"), rank=2)
    layout = layout_of(model)
    write(model, layout, np.random.default_rng(1).normal(0, 0.1, layout.size).astype(np.float32))
    expected = next_token_loss(model, batch()).item()
    checkpoint.save(model, tmp_path / "a")
    checkpoint.save(model, tmp_path / "merged", merge=True)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert len(load_file(tmp_path / "a" / "adapter_model.safetensors")) == len(layout.entries) == 8
    again = PeftModel.from_pretrained(load_checkpoint(str(tmp_path / "m")), str(tmp_path / "a"))
    assert next_token_loss(again, batch()).item() == expected
    merged = load_checkpoint(str(tmp_path / "merged"))
    assert next_token_loss(merged, batch()).item() == pytest.approx(expected, rel=1e-5)
    assert next_token_loss(model, batch()).item() == expected


def test_targets_that_are_not_there(make_model: Any, tmp_path: Path) -> None:
    checkpoint.save(make_model(), tmp_path / "m")
    with pytest.raises(ConfigError, match=r"model\.lora\.targets: .*zzz") as error:
        with_adapters(tmp_path / "m", targets=("zzz",))
    assert "q_proj" in (error.value.hint or "")
