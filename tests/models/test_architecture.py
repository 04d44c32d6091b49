"""Architectures: all four train, builds repeat, and an impossible model is answered with its field."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commonweal.core.errors import ConfigError, Unavailable
from commonweal.models import checkpoint
from commonweal.models.architecture import build, from_config, load_checkpoint
from commonweal.models.loss import evaluate_loss, next_token_loss
from commonweal.models.parameters import layout_of, read, write
from commonweal.models.settings import LoraSettings, ModelSettings


def tokens(rows: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 20, (rows, 33)))


def test_it_trains(tiny: Any) -> None:
    batch = tokens()
    layout = layout_of(tiny)
    before = read(tiny, layout)
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = next_token_loss(tiny, batch)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in tiny.parameters())
        optimizer.step()
        losses.append(loss.item())
    after = read(tiny, layout)
    assert losses[0] == pytest.approx(np.log(260), rel=0.1)
    assert losses[-1] < losses[0] - 0.5
    assert np.isfinite(after).all()
    for entry in layout.entries:
        part = slice(entry.offset, entry.offset + entry.size)
        assert (before[part] != after[part]).any(), entry.name


def test_the_same_seed_gives_the_same_weights_and_leaves_the_caller_alone(
    make_model: Any, architecture: str
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = (make_model(architecture, seed=seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    layout = layout_of(one)
    assert (read(one, layout) == read(two, layout)).all()
    assert (read(one, layout) != read(other, layout)).any()


def test_evaluation_changes_no_weight(tiny: Any) -> None:
    """RWKV in transformers rescales its weights in place when evaluated, unless told not to."""
    layout = layout_of(tiny)
    before = read(tiny, layout)
    evaluate_loss(tiny, [tokens().numpy()])
    assert read(tiny, layout).tobytes() == before.tobytes()
    assert tiny.training


def test_a_member_makes_the_model_from_its_configuration(tiny: Any, tmp_path: Path) -> None:
    tiny.config.to_json_file(str(tmp_path / "config.json"))
    other = from_config(tmp_path / "config.json")
    layout = layout_of(tiny)
    assert layout_of(other) == layout
    write(other, layout, read(tiny, layout))
    assert next_token_loss(other, tokens()).item() == next_token_loss(tiny, tokens()).item()


def test_weights_are_float32_and_sizes_follow(make_model: Any) -> None:
    model = make_model()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    config = model.config
    assert (config.vocab_size, config.max_position_embeddings, config.intermediate_size) == (260, 32, 128)
    assert (config.eos_token_id, config.pad_token_id, config.tie_word_embeddings) == (0, None, True)


def test_there_is_no_dropout_unless_asked_for(make_model: Any) -> None:
    model = make_model("gpt2")
    assert next_token_loss(model, tokens()).item() == next_token_loss(model, tokens()).item()
    assert make_model("gpt2", resid_pdrop=0.5).config.resid_pdrop == 0.5


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "mistral", "mamba"])
def test_others_that_transformers_knows_work_as_well(make_model: Any, name: str) -> None:
    model = make_model(name)
    next_token_loss(model, tokens(2)).backward()
    assert model.config.model_type == name


def attempt(**values: Any) -> None:
    build(ModelSettings(**values), vocab_size=260, seq_len=32, seed=1)


@pytest.mark.parametrize(
    ("values", "says", "advice"),
    [
        ({"architecture": "lama"}, "model.architecture: 'lama'", "did you mean 'llama'"),
        ({"architecture": "vit"}, "model.architecture: 'vit'", ""),
        ({"config": {"hiden_size": 64}}, "model.config.hiden_size: unknown key", "'hidden_size'"),
        ({"config": {"rope_theta": 1e4}}, "model.config.rope_theta", "'rope_parameters'"),
        ({"config": {"zzz": 1}}, "model.config.zzz", "known: attention_bias"),
        ({"config": {"dtype": "float16"}}, "model.config.dtype", "float32"),
        ({"config": {"hidden_size": "big"}}, "model.config.hidden_size: .* got 'big'", None),
        ({"config": {"hidden_size": 0}}, "model.config.hidden_size", None),
        ({"config": {"hidden_size": True}}, "model.config.hidden_size", None),
        ({"config": {"intermediate_size": 0}}, "model.config.intermediate_size", None),
        ({"config": {"vocab_size": 259}}, "model.config.vocab_size: 259 .* tokenizer of 260", "leave"),
        ({"config": {"max_position_embeddings": 31}}, "max_position_embeddings: 31", "leave"),
        (
            {"config": {"hidden_size": 100, "num_attention_heads": 7}},
            "num_attention_heads: 7 heads do not divide hidden_size = 100",
            "take 1",
        ),
        ({"config": {"hidden_size": 60, "num_attention_heads": 20}}, "heads of 3 are odd", "even"),
        ({"config": {"num_key_value_heads": 3}}, "num_key_value_heads: 3 do not divide", "query heads"),
        ({"config": {"hidden_act": "silly"}}, "nothing is called 'silly'", "change"),
        ({"config": {"rms_norm_eps": "x"}}, "'rms_norm_eps' expected float", "change"),
        ({"architecture": "rwkv", "config": {"num_hidden_layers": 1}}, "num_hidden_layers: .* 2", "depth"),
        ({"architecture": "rwkv", "config": {"context_length": 8}}, "context_length: 8", "leave"),
        ({"architecture": "mamba2", "config": {"head_dim": 7}}, "must equal num_heads", "change"),
        (
            {"architecture": "gpt_neox", "config": {"num_attention_heads": 7}},
            "num_attention_heads: 7",
            "take",
        ),
    ],
)
def test_an_impossible_model_is_answered_with_its_field(
    values: dict[str, Any], says: str, advice: str | None
) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        attempt(**values)
    assert advice is None or advice in (error.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (ModelSettings, {"checkpoint": "x", "architecture": "llama"}, "checkpoint: it brings its own"),
        (ModelSettings, {"checkpoint": ""}, "checkpoint: must not be empty"),
        (ModelSettings, {"lora": LoraSettings()}, "lora: adapters need a checkpoint"),
        (LoraSettings, {"rank": 0}, "rank"),
        (LoraSettings, {"alpha": 0.0}, "alpha"),
        (LoraSettings, {"targets": ("all-linear", "q_proj")}, "targets"),
    ],
)
def test_settings_check_themselves(kind: type, values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind(**values)


def test_only_safetensors_are_loaded(make_model: Any, tmp_path: Path) -> None:
    model = make_model()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"has no safetensors, only pytorch_model\.bin") as error:
        attempt(checkpoint=str(tmp_path))
    assert "pickle can run code" in str(error.value)


def test_no_code_of_a_checkpoint_is_run(make_model: Any, tmp_path: Path) -> None:
    checkpoint.save(make_model(), tmp_path / "m")
    ran = tmp_path / "ran"
    (tmp_path / "m" / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    }
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        attempt(checkpoint=str(tmp_path / "m"))
    with pytest.raises(ConfigError, match=r"model\.architecture: 'evil'"):
        from_config(tmp_path / "m" / "config.json")
    assert not ran.exists()


def test_checkpoints_that_are_none(make_model: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        attempt(checkpoint=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        attempt(checkpoint=str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is an adapter, not a model") as error:
        attempt(checkpoint=str(tmp_path))
    assert "merge it" in str(error.value)
    checkpoint.save(make_model(), tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\x08" * 50)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        attempt(checkpoint=str(tmp_path / "m"))
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_checkpoint(str(tmp_path / "m"))
    with pytest.raises(ConfigError, match="not the configuration of a model"):
        from_config(tmp_path / "m" / "config.json")


def test_a_checkpoint_too_small_for_the_job(make_model: Any, tmp_path: Path) -> None:
    checkpoint.save(make_model(), tmp_path / "m")
    settings = ModelSettings(checkpoint=str(tmp_path / "m"))
    with pytest.raises(ConfigError, match="knows 260 tokens, the tokenizer has 261"):
        build(settings, vocab_size=261, seq_len=32, seed=1)
    with pytest.raises(ConfigError, match="reads at most 32 tokens, seq_len is 33"):
        build(settings, vocab_size=260, seq_len=33, seed=1)


def test_a_hub_that_is_away_is_no_fault_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect") from socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("commonweal.models.architecture.AutoConfig.from_pretrained", away)
    with pytest.raises(Unavailable, match="'some/name' cannot be reached"):
        attempt(checkpoint="some/name")
