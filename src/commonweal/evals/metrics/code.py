"""Programs that models wrote, judged by running their unit tests: in a sandbox or not at all.

What stands in ``instance.extra`` says what is run. HumanEval: ``prompt``, ``test`` (defines ``check(candidate)``)
and ``entry_point``. MBPP: ``tests`` with ``test_list`` (assertions) and ``test_setup_code``. APPS: ``tests`` with
``inputs``, ``outputs`` and perhaps ``fn_name``.

A program has passed when the line after its last test was reached: one that ends before, whatever its exit code, has
not.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.sandbox import Sandbox, find_sandbox
from commonweal.evals.instance import Instance
from commonweal.evals.metrics.metric import Definition, Family, Tools
from commonweal.evals.sample import Sample

SECONDS = 3.0
"""For a HumanEval or MBPP program, and for each test of an APPS program (both authors' own limit)."""

APPS_SECONDS = 11.0
"""For all tests of an APPS program together (the authors' own limit)."""

KS = (1, 5, 10, 100)
_FENCE = re.compile(r"```[ \t]*(?:[\w+-]+)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_DRIVER = Path(__file__).with_name("code_driver.py")


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of k programs passes, estimated without bias from n of which c passed
    (Chen et al. 2021, equation 1): 1 - C(n-c, k) / C(n, k).

    >>> round(pass_at_k(5, 1, 2), 3)
    0.4
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError("pass@k: 0 <= c <= n and 1 <= k <= n")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one program: which of its tests passed (one entry where it runs them as one), and how it ended."""

    tests: tuple[bool, ...]
    status: str

    @property
    def passed(self) -> bool:
        return bool(self.tests) and all(self.tests)


class CodeAnnotator:
    """Runs every output of a sample, so many at once. Its findings: ``tests`` (a list for each output), ``status``."""

    name = "code"

    def __init__(self, sandbox: Sandbox | None, *, at_once: int = 0) -> None:
        self._sandbox = sandbox
        self._turn = asyncio.Semaphore(at_once or os.cpu_count() or 1)

    async def annotate(self, sample: Sample) -> Mapping[str, Any]:
        if self._sandbox is None:
            return {"missing": "no sandbox"}
        if not has_tests(sample.instance):
            return {"missing": "the instance has no tests"}
        verdicts = [await self._judge(self._sandbox, sample.instance, text) for text in _texts(sample)]
        return {
            "tests": [list(verdict.tests) for verdict in verdicts],
            "status": [verdict.status for verdict in verdicts],
        }

    async def _judge(self, sandbox: Sandbox, instance: Instance, text: str) -> Verdict:
        async with self._turn:
            return await asyncio.to_thread(judge_program, sandbox, instance, text)


def has_tests(instance: Instance) -> bool:
    """Whether :func:`judge_program` knows what to run."""
    return "test" in instance.extra or isinstance(instance.extra.get("tests"), Mapping)


def judge_program(sandbox: Sandbox, instance: Instance, text: str) -> Verdict:
    """Run a model's answer against the instance's tests."""
    tests = instance.extra.get("tests")
    if isinstance(tests, Mapping) and "inputs" in tests:
        return _apps(sandbox, tests, code_of(text))
    mark = secrets.token_hex(16)
    ran = sandbox.run(f"{_program(instance, text)}\nprint({mark!r})\n".encode(), seconds=SECONDS)
    reached = ran.stdout.rstrip().endswith(mark.encode())
    return Verdict(tests=(ran.status == "ok" and reached,), status=ran.status)


def _program(instance: Instance, text: str) -> str:
    extra = instance.extra
    if "test" in extra:
        return (
            f"{completed(extra['prompt'], extra['entry_point'], text)}\n{extra['test']}\n"
            f"check({extra['entry_point']})"
        )
    tests: Sequence[str] = extra["tests"]["test_list"]
    return "\n".join((code_of(text), extra["tests"].get("test_setup_code", ""), *tests))


def completed(prompt: str, function: str, text: str) -> str:
    """The whole program: the prompt with its completion; or what the model wrote, where it wrote the function anew (as
    chat models do), after the lines that stand before it in the prompt."""
    code = code_of(text)
    head = f"def {function}("
    if re.search(rf"^{re.escape(head)}", code, re.MULTILINE):
        return prompt[: prompt.rfind(head)] + code
    return prompt + code


def code_of(text: str) -> str:
    """The longest fenced block; the text itself where there is none. A [DONE] ends it.

    >>> code_of("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    blocks = _FENCE.findall(text)
    return max(blocks, key=len) if blocks else text.split("[DONE]", 1)[0]


def _apps(sandbox: Sandbox, tests: Mapping[str, Any], code: str) -> Verdict:
    mark = secrets.token_hex(16)
    given = {"tests": dict(tests), "seconds": SECONDS, "mark": mark, "packages": sandbox.packages}
    ran = sandbox.run(
        _DRIVER.read_bytes(),
        stdin=json.dumps(given).encode(),
        files={"candidate": code.encode("utf-8", "replace")},
        seconds=APPS_SECONDS,
    )
    passed = [False] * len(tests["inputs"])
    for line in ran.stdout.decode(errors="replace").splitlines():
        match line.split():
            case [said, index, "passed"] if said == mark:
                passed[int(index)] = True
    return Verdict(tests=tuple(passed), status=ran.status)


def _texts(sample: Sample) -> list[str]:
    """Raw texts up to the first stop text, not the parsed ones: to strip a completion is to break its indentation."""
    answers = [answer for answer in sample.answers if answer.ask.role == "output"] or sample.answers[-1:]
    return [
        _before(choice.text, sample.adaptation.stop)
        for answer in answers
        for choice in answer.completion.choices
    ]


def _before(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


class Code:
    """Of an annotated sample: ``pass`` (the first output passes), ``pass@k`` for each k up to the number of outputs,
    and, best of the outputs as in HELM, ``test_avg`` and ``strict_acc``."""

    def score(self, sample: Sample) -> dict[str, float]:
        outputs: Sequence[Sequence[bool]] = sample.annotations.get("code", {}).get("tests", ())
        if not outputs:
            return {}
        passed = [bool(tests) and all(tests) for tests in outputs]
        n, c = len(passed), sum(passed)
        made = {f"pass@{k}": pass_at_k(n, c, k) for k in KS if k <= n}
        made["pass"] = float(passed[0])
        made["strict_acc"] = float(c > 0)
        made["test_avg"] = max(sum(tests) / len(tests) if tests else 0.0 for tests in outputs)
        return made


def _annotator(tools: Tools) -> CodeAnnotator:
    return CodeAnnotator(find_sandbox())


_CHEN = "Chen et al. 2021, arXiv 2107.03374, section 2.1"
_APPS_PAPER = "Hendrycks et al. 2021, arXiv 2105.09938, section 3.2"
CODE = Family(
    name="code",
    make=Code,
    annotator=_annotator,
    needs=("sandbox",),
    definitions=(
        Definition(
            name="pass",
            title="Passes its tests",
            aspect="accuracy",
            description="Share of first programs that pass all their unit tests.",
            source=_CHEN,
        ),
        *(
            Definition(
                name=f"pass@{k}",
                title=f"pass@{k}",
                aspect="accuracy",
                description=f"Probability that at least one of {k} programs passes all unit tests, estimated without "
                "bias from all programs that were sampled.",
                source=_CHEN,
            )
            for k in KS
        ),
        Definition(
            name="test_avg",
            title="Tests passed",
            aspect="accuracy",
            description="Share of a program's tests that it passes, the best of its samples.",
            source=_APPS_PAPER,
        ),
        Definition(
            name="strict_acc",
            title="Strict accuracy",
            aspect="accuracy",
            description="Share of problems of which a sampled program passes all tests.",
            source=_APPS_PAPER,
        ),
    ),
)
