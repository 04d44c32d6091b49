"""A base model small enough to fine-tune in seconds, and a task that it cannot do: numbers in words to digits."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from commonweal.core.blobs import Blobs
from commonweal.core.completion import Message
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.data.tokenizer import TokenizerSettings, make_tokenizer
from commonweal.models.architecture import build
from commonweal.models.chat import end_tokens, render_chat
from commonweal.models.checkpoint import save
from commonweal.models.settings import ModelSettings
from commonweal.train.executor import TrainExecutor
from commonweal.train.job import TrainJob
from commonweal.train.local import LocalPool
from commonweal.train.prepare import PreparedJob
from commonweal.train.scoring import HeldOutScorer
from commonweal.train.spec import JobSpec

JOB = JobId("job_tuning")
MEMBERS = (MemberId("mem_a"), MemberId("mem_b"))
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def question(a: int, b: int) -> str:
    return f"{DIGITS[a]} and {DIGITS[b]}"


def answer(a: int, b: int) -> str:
    return f"{a}+{b}"


def tasks(seed: int, count: int) -> list[tuple[int, int]]:
    numbers = random.Random(seed)
    return [(numbers.randrange(10), numbers.randrange(10)) for _ in range(count)]


def chats(pairs: Sequence[tuple[int, int]]) -> bytes:
    lines = [
        {
            "messages": [
                {"role": "user", "content": question(a, b)},
                {"role": "assistant", "content": answer(a, b)},
            ]
        }
        for a, b in pairs
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def preferences(pairs: Sequence[tuple[int, int]]) -> bytes:
    lines = [
        {
            "input": {"messages": [{"role": "user", "content": question(a, b)}]},
            "preferred_output": [{"role": "assistant", "content": answer(a, b)}],
            "non_preferred_output": [{"role": "assistant", "content": f"{b} {a}"}],
        }
        for a, b in pairs
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def make_base(folder: Path, *, steps: int = 150) -> Path:
    """A model that has read lists of numbers in words and in digits, and answers no question."""
    words = random.Random(0)

    def sentence() -> str:
        numbers = [words.randrange(10) for _ in range(8)]
        listed = " and ".join(f"{DIGITS[n]} {n}" for n in numbers)
        return f"{listed}; {'+'.join(map(str, numbers))}"

    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(
        TokenizerSettings(kind="train", vocab_size=300), [sentence() for _ in range(50)], work=work
    )
    tokenizer.save(folder / "tokenizer")
    settings = ModelSettings(
        architecture="llama", config={"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    )
    model = build(
        settings, vocab_size=tokenizer.vocab_size, seq_len=64, seed=1, end_of_text=tokenizer.end_of_text
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = [ids[:48].tolist() for ids in tokenizer.encode_batch([sentence() for _ in range(16)])]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [tokenizer.end_of_text] * (longest - len(row)) for row in rows])
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    save(model, folder / "base", tokenizer_dir=folder / "tokenizer")
    return folder / "base"


def pool_of(prepared: PreparedJob, blobs: Blobs) -> LocalPool:
    """Two members in this process, and a hub that scores what they hand in."""
    scorer = HeldOutScorer(JobSpec.from_json(prepared.spec), blobs.get, threads=1)
    members = {member: TrainExecutor(None, threads=1) for member in MEMBERS}
    return LocalPool(TrainJob(JOB, prepared.spec, blobs, scorer), JOB, blobs, members, steady=True)


def theta_of(pool: LocalPool) -> BlobHash:
    return BlobHash(pool.state["theta"])


def write_files(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def load_tuned(base: Path, adapter: Path | None) -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    if adapter is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
            model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval(), AutoTokenizer.from_pretrained(str(base))


def exact_match(model: Any, tokenizer: Any, pairs: Sequence[tuple[int, int]]) -> float:
    """The share of questions that are answered exactly, greedily."""
    ends = sorted(end_tokens(tokenizer))
    right = 0
    for a, b in pairs:
        ids = render_chat(tokenizer, [Message(role="user", content=question(a, b))]).ids
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=8,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=ends[0],
            )
        right += tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True) == answer(a, b)
    return right / len(pairs)
