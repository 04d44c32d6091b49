"""Models by transformers configuration: from scratch or from a checkpoint, always float32, never with code.

Owns the check of a configuration and the making of a model. The same settings, seed and torch release give
the same weights; the caller's random state is left as it was. Weights are read from safetensors only.
"""

from __future__ import annotations

import difflib
import json
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as chatter

from commonweal.core.errors import ConfigError, Unavailable
from commonweal.models.settings import ModelSettings
from commonweal.models.shapes import completed_config

_REFUSALS = (
    StrictDataclassError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""What transformers and torch raise, somewhere inside, for sizes that cannot be."""

_OURS = frozenset({"dtype", "architectures", "transformers_version", "model_type", "auto_map"})


def build(
    settings: ModelSettings, *, vocab_size: int, seq_len: int, seed: int, end_of_text: int | None = None
) -> Any:
    """The model that a job names, in float32 on the CPU, in training mode.

    Raises ConfigError naming the field: an unknown architecture or key, sizes that cannot be, a checkpoint
    that is missing, unsafe, or too small for the tokenizer (``vocab_size``) or the sequences (``seq_len``).
    """
    with seeded(seed), quiet():
        if settings.checkpoint is None:
            model = _from_scratch(settings, vocab_size=vocab_size, seq_len=seq_len, end_of_text=end_of_text)
        else:
            model = load_checkpoint(settings.checkpoint)
            _check_fits(model.config, settings.checkpoint, vocab_size, seq_len)
        if settings.lora is not None:
            # Adapters alone need peft, which takes longer to import than all the rest.
            from commonweal.models.adapters import add_adapters

            model = add_adapters(model, settings.lora, seed=seed)
        model.train()
        _try_out(model, model.config.model_type)
    return model


def load_checkpoint(location: str) -> Any:
    """The causal language model in a local folder, or of that name on the hub: safetensors only, in float32."""
    _check_folder(location)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(location, trust_remote_code=False)
            return AutoModelForCausalLM.from_pretrained(
                location,
                config=_without_rescaling(config),
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
            )
    except Exception as error:
        if _is_network(error):
            raise Unavailable(
                f"model.checkpoint: '{location}' cannot be reached: {_first_line(error)}",
                hint="check the network, or give a local folder",
            ) from error
        raise ConfigError(
            f"model.checkpoint: '{location}' cannot be loaded: {_first_line(error)}",
            hint="give a folder with config.json and model.safetensors, or a model's name on the hub",
        ) from error


def from_config(file: Path) -> Any:
    """A model of the shape that a saved config.json says, its weights still to be written.

    This is how a member makes the model whose weights it gets as a vector. Raises ConfigError.
    """
    try:
        model_type = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: not the configuration of a model") from None
    kind = _config_class(str(model_type))
    try:
        with seeded(0), quiet():
            config = _without_rescaling(kind.from_json_file(str(file)))
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
            model.train()
            _try_out(model, kind.model_type)
            return model
    except _REFUSALS as error:
        raise _impossible(error, kind.model_type) from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU generator at ``seed`` within, and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without warnings and progress bars: what a user must know is in our errors."""
    verbosity, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        chatter.set_verbosity(verbosity)
        if bars:
            chatter.enable_progress_bar()


def make_config(
    settings: ModelSettings, *, vocab_size: int, seq_len: int, end_of_text: int | None = None
) -> Any:
    """The checked transformers configuration of a model from scratch."""
    kind = _config_class(settings.model_type)
    for key in settings.config:
        _check_key(key, kind, settings.model_type)
    wanted = completed_config(settings, vocab_size=vocab_size, seq_len=seq_len)
    known = _known_keys(kind)
    # No padding token: an embedding would never learn it, and packed sequences have no padding.
    tokens = {"bos_token_id": end_of_text, "eos_token_id": end_of_text, "pad_token_id": None}
    # No dropout unless asked for: text is seen about once, and the same step must give the same numbers twice.
    still = {f.name: 0.0 for f in fields(kind) if "drop" in f.name and isinstance(f.default, float)}
    values = {key: value for key, value in {**still, **tokens, **wanted}.items() if key in known}
    try:
        return kind(**values)
    except _REFUSALS as error:
        raise _impossible(error, settings.model_type) from error


def _from_scratch(settings: ModelSettings, *, vocab_size: int, seq_len: int, end_of_text: int | None) -> Any:
    config = make_config(settings, vocab_size=vocab_size, seq_len=seq_len, end_of_text=end_of_text)
    try:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except _REFUSALS as error:
        raise _impossible(error, settings.model_type) from error
    _set_generation(model, end_of_text)
    return model


def _try_out(model: Any, model_type: str) -> None:
    """One forward pass over two tokens: some sizes are found impossible only there, and libraries that say
    something once say it now, unheard."""
    tokens_BT = torch.zeros((1, 2), dtype=torch.long)
    try:
        with torch.inference_mode():
            model(input_ids=tokens_BT, use_cache=False)
    except _REFUSALS as error:
        raise _impossible(error, model_type) from error


def _set_generation(model: Any, end_of_text: int | None) -> None:
    generation = getattr(model, "generation_config", None)
    if generation is not None and end_of_text is not None:
        generation.bos_token_id = generation.eos_token_id = generation.pad_token_id = end_of_text


def _config_class(model_type: str) -> Any:
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or model_type not in CONFIG_MAPPING:
        raise ConfigError(
            f"model.architecture: '{model_type}' is not a causal language model that transformers knows",
            hint=_nearest(
                model_type, list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), "llama, gpt_neox, mamba2, rwkv, ..."
            ),
        )
    return CONFIG_MAPPING[model_type]


def _known_keys(kind: Any) -> set[str]:
    return {f.name for f in fields(kind) if not f.name.startswith("_")} | set(kind.attribute_map)


def _check_key(key: str, kind: Any, model_type: str) -> None:
    if key in _OURS:
        raise ConfigError(
            f"model.config.{key}: is not for a job to set",
            hint="weights are float32; set architecture for the type",
        )
    known = _known_keys(kind) - _OURS
    if key not in known:
        raise ConfigError(
            f"model.config.{key}: unknown key for the architecture '{model_type}'",
            hint=_nearest(key, sorted(known), ", ".join(sorted(known))),
        )


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {otherwise}"


def _impossible(error: Exception, model_type: str) -> ConfigError:
    return ConfigError(
        f"model.config: not a possible '{model_type}': {_first_line(error)}",
        hint="change the sizes that it names, or leave them out",
    )


def _is_network(error: BaseException | None) -> bool:
    """Whether a connection failed somewhere in the chain of causes."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    """What an error says, in one line; strict dataclasses put the reason in the last one."""
    if isinstance(error, KeyError):
        return f"nothing is called {error}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if isinstance(error, StrictDataclassError) else lines[0]


def _check_folder(location: str) -> None:
    folder = Path(location).expanduser()
    if not folder.is_dir():
        if location.startswith((".", "/", "~")) or folder.is_file():
            raise ConfigError(
                f"model.checkpoint: '{location}' is not a folder",
                hint="give the folder that save_pretrained wrote",
            )
        return
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ConfigError(
            f"model.checkpoint: '{location}' is an adapter, not a model", hint="merge it into its model first"
        )
    if not (folder / "config.json").is_file():
        raise ConfigError(f"model.checkpoint: '{location}' has no config.json")
    if not list(folder.glob("*.safetensors")):
        unsafe = sorted(
            p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5")
        )
        found = f", only {', '.join(unsafe)}" if unsafe else ""
        raise ConfigError(
            f"model.checkpoint: '{location}' has no safetensors{found}",
            hint="only .safetensors are read, as a pickle can run code; convert it where you trust it",
        )


def _without_rescaling(config: Any) -> Any:
    if getattr(config, "model_type", "") == "rwkv":
        config.rescale_every = 0
    return config


def _check_fits(config: Any, location: str, vocab_size: int, seq_len: int) -> None:
    have = getattr(config.get_text_config(), "vocab_size", vocab_size)
    if have < vocab_size:
        raise ConfigError(
            f"model.checkpoint: '{location}' knows {have} tokens, the tokenizer has {vocab_size}",
            hint=f'use its own tokenizer: kind = "named", name = "{location}"',
        )
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if isinstance(most, int) and most < seq_len:
        raise ConfigError(
            f"model.checkpoint: '{location}' reads at most {most} tokens, seq_len is {seq_len}",
            hint=f"set seq_len to {most} or less",
        )
