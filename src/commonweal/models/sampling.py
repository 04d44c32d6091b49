"""Text from a model: what a person reads to see that it learned something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from commonweal.core.errors import ConfigError
from commonweal.models.architecture import quiet, seeded


def generate_sample(
    model: Any,
    tokenizer_dir: Path,
    prompt: str,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> str:
    """``prompt`` and what the model writes after it. A temperature of 0 takes the likeliest token each time.

    An empty prompt is a document's beginning. The same seed gives the same text on the CPU.
    """
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_dir), trust_remote_code=False)
    end = tokenizer.eos_token_id
    ids = tokenizer.encode(prompt, add_special_tokens=False) or ([] if end is None else [end])
    if not ids:
        raise ConfigError("prompt: is empty, and the tokenizer has no token to begin with")
    device = next(model.parameters()).device
    tokens_BT = torch.tensor([ids], device=device)
    choice = (
        {"do_sample": True, "temperature": temperature, "top_k": top_k}
        if temperature > 0
        else {"do_sample": False}
    )
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), seeded(seed), quiet():
            written = model.generate(
                input_ids=tokens_BT,
                attention_mask=torch.ones_like(tokens_BT),
                max_new_tokens=max_new_tokens,
                pad_token_id=end,
                eos_token_id=end,
                **choice,
            )
    finally:
        model.train(was_training)
    text: str = tokenizer.decode(written[0], skip_special_tokens=True)
    return text
