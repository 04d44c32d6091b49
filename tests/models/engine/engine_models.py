"""Tiny models of several architectures with random weights, and adapters, saved as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
TEXT = "The sky is blue and the sea is green. What is the capital of France? It is Paris, of course.\n" * 20
CHAT = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}: {{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant: {% endif %}"
)
SIZES: dict[str, dict[str, Any]] = {
    "llama": {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64},
    "gpt2": {"n_head": 4},
    "gpt_neox": {"num_attention_heads": 4, "intermediate_size": 64},
    "bloom": {"n_head": 4},
    "gemma3_text": {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "head_dim": 8,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "mamba2": {"state_size": 8, "num_heads": 4, "head_dim": 16, "expand": 2, "n_groups": 1, "chunk_size": 16},
    "rwkv": {"attention_hidden_size": 32, "intermediate_size": 64, "context_length": 256, "rescale_every": 0},
    "qwen3_next": {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 0,
        "mlp_only_layers": [0, 1],
    },
}


def save_tokenizer(folder: Path) -> int:
    """A byte-level BPE with a chat template. The size of its vocabulary."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END, "<|turn|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(str(folder))
    return int(backend.get_vocab_size())


def save_model(folder: Path, architecture: str = "llama", *, seed: int = 0, **more: Any) -> Path:
    """A model of two layers, 32 wide, whose next tokens differ enough to be told apart."""
    size = save_tokenizer(folder)
    sizes = {
        "vocab_size": size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(architecture, **{**sizes, **SIZES[architecture], **more})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(str(folder))
    return folder


def save_adapter(folder: Path, base: Path, *, seed: int, rank: int = 4, **more: Any) -> Path:
    """A LoRA adapter of ``base`` that changes its answers."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear", **more
    )
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(str(folder))
    return folder
