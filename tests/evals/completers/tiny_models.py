"""Tiny models with random weights, made for a test and saved as Hugging Face folders."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"
STEPS = 220
TEXT = (
    "The sky is blue and the sea is green. What is the capital of France? The capital of France is Paris.\n"
    "Question: which of these is a fruit?\nA. apple\nB. stone\nC. chair\nD. cloud\nAnswer: A\n\n"
) * 20
CHAT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system turn') }}"
    "{% endif %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def save_tokenizer(folder: Path, *, chat: bool = True, begin: bool = False, every_byte: bool = True) -> int:
    """A byte-level BPE; ``begin`` puts a token before every text; without ``every_byte`` it knows TEXT's characters
    alone. The size of its vocabulary."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if every_byte else []
    backend.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=400, special_tokens=[END], initial_alphabet=alphabet)
    )
    if begin:
        backend.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, bos_token=END if begin else None
    )
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(str(folder))
    return backend.get_vocab_size()


def save_llama(folder: Path, *, chat: bool = True, begin: bool = False, every_byte: bool = True) -> Path:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": save_tokenizer(folder, chat=chat, begin=begin, every_byte=every_byte),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "initializer_range": 0.2,
    }
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(str(folder))
    return folder


CUES = ("\nassistant:", "Answer:", "Output:", "A:", "Target:", " because", " that", " and", ",")
SAYS = ("He is a doctor.", "She is a nurse.", "The man said no.", "7", "B", "red")


def save_talking_llama(folder: Path) -> Path:
    """A Llama that was fitted to answer anything with one of SAYS, and to end there: of a model that writes about men
    and women and stops, all seven aspects can be measured, and quickly."""
    save_llama(folder)
    model = LlamaForCausalLM.from_pretrained(str(folder))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        rows = [tokenizer.encode(_conversation(draw))[-64:] for _ in range(16)]
        ids = torch.tensor([row + [0] * (64 - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (64 - len(row)) for row in rows])
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(str(folder))
    return folder


def _conversation(draw: random.Random) -> str:
    """Any characters, a cue, and an answer, twice: what an answer is comes of the cue alone."""
    noise = "".join(draw.choices("abcdefghij klmnop\n qrstuvwxyz 0123456789.?", k=draw.randrange(4, 40)))
    return f"{noise}{draw.choice(CUES)} {draw.choice(SAYS)}{END}"


def save_gpt2(folder: Path) -> Path:
    torch.manual_seed(0)
    size = save_tokenizer(folder)
    config = GPT2Config(
        vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=0,
        initializer_range=0.2,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(str(folder))
    return folder


def save_mamba(folder: Path) -> Path:
    torch.manual_seed(0)
    size = save_tokenizer(folder)
    config = Mamba2Config(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=4, head_dim=16, expand=2,
        n_groups=1, chunk_size=16, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    Mamba2ForCausalLM(config).save_pretrained(str(folder))
    return folder
