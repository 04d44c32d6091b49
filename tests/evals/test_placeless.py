"""What names a folder, a private host or a person is taken out of what strangers read, and nothing else."""

from __future__ import annotations

import shlex

import pytest

from commonweal.evals.placeless import placeless, placeless_command


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/home/ada/data/gsm.jsonl", ".../gsm.jsonl"),
        ("/home/ada", "..."),
        ("/Users/ada/", "..."),
        ("~/models/tiny: no such folder", ".../tiny: no such folder"),
        ("~ada/x", ".../x"),
        ("C:\\Users\\ada\\x.gguf is damaged", ".../x.gguf is damaged"),
        ("read '/mnt/big/set' twice", "read '.../set' twice"),
        ("http://10.1.2.3:8000/v1#tiny", "http://private-host:8000/v1#tiny"),
        ("http://[fd00::1]:80/v1", "http://private-host:80/v1"),
        ("https://gpu7.lab.internal/v1", "https://private-host/v1"),
        ("http://workstation:8000/v1", "http://private-host:8000/v1"),
        ("https://ada:secret@api.example.org/v1?key=sk-1", "https://api.example.org/v1"),
        ("file:///home/ada/x.bin", ".../x.bin"),
        ("http://1.2.3.4.5:bad/", "private-host"),
    ],
)
def test_what_says_where_is_taken_out(said: str, told: str) -> None:
    assert placeless(said) == told
    assert placeless(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openai/gpt-4o and 1/2, n/a, and/or",
        "https://api.openai.com/v1#gpt-4o",
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434/v1",
        "http://[::1]:80/v1",
        "https://example.org/a/b/c.json",
        "POST /v1/chat/completions gave 500",
        "../models/tiny",
        "datasets: cais/mmlu at revision abc/def",
    ],
)
def test_all_else_is_kept(text: str) -> None:
    assert placeless(text) == text


def test_a_command_is_told_word_by_word() -> None:
    command = shlex.join(
        [
            "commonweal", "eval", "--model", "/home/Ada L/my models/tiny", "--data-root", "/srv/ada/data",
            "--scenario", "jsonl:path=/home/ada/x y.jsonl", "--judge", "http://ada-pc:1234/v1#j", "--seed", "3",
        ]
    )  # fmt: skip
    told = placeless_command(command)
    assert "ada" not in told.lower()
    assert shlex.split(told) == [
        "commonweal", "eval", "--model", ".../tiny", "--data-root", ".../data",
        "--scenario", "jsonl:path=.../x y.jsonl", "--judge", "http://private-host:1234/v1#j", "--seed", "3",
    ]  # fmt: skip
    assert (
        placeless_command("commonweal eval --model mock:always=Yes")
        == "commonweal eval --model mock:always=Yes"
    )
    assert placeless_command('commonweal "/home/ada/x') == 'commonweal ".../x'
