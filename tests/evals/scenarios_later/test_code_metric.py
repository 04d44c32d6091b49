from __future__ import annotations

import asyncio
import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making_samples import instance, sample

from commonweal.core.sandbox import Sandbox, find_sandbox
from commonweal.evals.loading import DataLoader
from commonweal.evals.metrics.code import (
    CODE,
    Code,
    CodeAnnotator,
    code_of,
    completed,
    judge_program,
    pass_at_k,
)
from commonweal.evals.metrics.metric import Tools
from commonweal.evals.scenarios.later.programs import PROGRAMS
from commonweal.evals.scenarios.targeted.code import HUMANEVAL


@pytest.fixture(scope="module")
def box() -> Sandbox:
    found = find_sandbox()
    if found is None:
        pytest.skip("no sandbox: bubblewrap is missing, or user namespaces are switched off")
    return found


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, data: st.DataObject) -> None:
    """By enumeration of all draws of k programs (Chen et al. 2021, equation 1)."""
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    passed = [True] * c + [False] * (n - c)
    draws = list(itertools.combinations(passed, k))
    assert math.isclose(pass_at_k(n, c, k), sum(any(draw) for draw in draws) / len(draws), abs_tol=1e-12)


def test_pass_at_k_as_numerically_stable_as_the_papers() -> None:
    """The paper's own code: 1 - prod(1 - k / arange(n - c + 1, n + 1))."""
    n, c, k = 200, 3, 100
    papers = 1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))
    assert math.isclose(pass_at_k(n, c, k), papers)
    with pytest.raises(ValueError, match="pass@k"):
        pass_at_k(1, 0, 2)


def test_scores() -> None:
    one = sample(instance(), "a", "b", code={"tests": [[True, False], [True, True]], "status": ["ok", "ok"]})
    assert Code().score(one) == {"pass": 0.0, "pass@1": 0.5, "strict_acc": 1.0, "test_avg": 1.0}
    assert Code().score(sample(instance(), "a", code={"missing": "no sandbox"})) == {}
    assert Code().score(sample(instance(), "a")) == {}


def test_code_in_a_chat_answer() -> None:
    assert code_of("x = 1\n") == "x = 1\n"
    assert code_of("Sure!\n```python\nx = 1\n```\nand\n```\ny\n```") == "x = 1\n"
    assert code_of("```py\nx = 1") == "x = 1"
    prompt = 'import math\n\ndef f(x):\n    """Doc."""\n'
    assert completed(prompt, "f", "    return 1\n") == prompt + "    return 1\n"
    assert (
        completed(prompt, "f", "```python\ndef f(x):\n    return 1\n```")
        == "import math\n\ndef f(x):\n    return 1\n"
    )


HUMAN = instance(
    prompt='def double(x):\n    """Twice x."""\n',
    test="def check(candidate):\n    assert candidate(2) == 4\n    assert candidate('a') == 'aa'\n",
    entry_point="double",
)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("    return 2 * x\n", True),
        ("    return x + 1\n", False),
        ("    return (\n", False),
        ("    import os; os._exit(0)\n", False),
        ("    raise SystemExit(0)\n", False),
        ("    while True: pass\n", False),
    ],
)
def test_human_eval_programs(box: Sandbox, text: str, passes: bool) -> None:
    assert judge_program(box, HUMAN, text).passed is passes


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("print(int(input()) ** 2)", (True, True, True)),
        ("import sys\nfor line in sys.stdin: print(' ', int(line) ** 2.0, '\\n')", (True, True, True)),
        ("print(9)", (True, False, False)),
        ("n = int(input())\nwhile n == 4: pass\nprint(n * n)", (True, False, True)),
        ("n = int(input())\nif n == 4: raise ValueError\nprint(n * n)", (True, False, True)),
        ("def solve(): print(int(input()) ** 2)\nif __name__ == '__main__': solve()", (True, True, True)),
        ("not python", (False, False, False)),
        ("import os; os._exit(0)", (False, False, False)),
        ("import os\nfor i in range(3): os.write(1, b'passed')", (False, False, False)),
    ],
)
def test_apps_programs_that_read_standard_input(box: Sandbox, program: str, tests: tuple[bool, ...]) -> None:
    problem = instance(tests={"inputs": ["3\n", "4\n", ["5", ""]], "outputs": ["9\n", "16", ["25"]]})
    assert judge_program(box, problem, program).tests == tests


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("class Solution:\n    def add(self, a, b):\n        print('noise'); return a + b", (True, True)),
        ("def add(a, b): return (a, b) if a > 2 else a + b", (True, False)),
        ("def plus(a, b): return a + b", (False, False)),
        ("def add(a, b): return object()", (False, False)),
    ],
)
def test_apps_programs_that_are_called(box: Sandbox, program: str, tests: tuple[bool, ...]) -> None:
    problem = instance(tests={"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, [7]]})
    assert judge_program(box, problem, program).tests == tests


def test_apps_compares_as_its_authors_do(box: Sandbox) -> None:
    problem = instance(
        tests={"inputs": ["", "", "", ""], "outputs": ["a b\nc\n", "0.333333\n", "1\n2\n", "x y"]}
    )
    program = "print('c'); print('b  a')"
    assert judge_program(box, problem, program).tests == (True, False, False, False)
    assert judge_program(box, problem, "print(1 / 3)").tests == (False, True, False, False)


@pytest.mark.slow
def test_the_real_solutions_pass(box: Sandbox, data_root: Path, tmp_path: Path) -> None:
    """HumanEval's and MBPP's own solutions, a sample of each."""
    loader = DataLoader(data_root, tmp_path, offline=True)
    for scenario, step in ((HUMANEVAL, 8), (PROGRAMS[0], 25)):
        problems = [one for one in scenario.read(loader, {}) if one.split == "test"][::step]
        failed = [one.id for one in problems if not judge_program(box, one, one.correct[0]).passed]
        assert not failed
        wrong = [one.id for one in problems if judge_program(box, one, "    return None\n").passed]
        assert not wrong


def test_the_annotator_runs_all_outputs_up_to_the_stop_text(box: Sandbox) -> None:
    adaptation = HUMANEVAL.adaptation
    asked = sample(HUMAN, "    return 2 * x\n\ndef other(", "    return 0", adaptation=adaptation)
    found = asyncio.run(CodeAnnotator(box).annotate(asked))
    assert found == {"tests": [[True], [False]], "status": ["ok", "failed"]}


def test_without_a_sandbox_nothing_runs() -> None:
    found = asyncio.run(CodeAnnotator(None).annotate(sample(HUMAN, "    return 2 * x\n")))
    assert found == {"missing": "no sandbox"}


def test_the_family_names_all_that_it_gives() -> None:
    assert CODE.annotator is not None
    assert CODE.annotator(Tools()).name == "code"
    many = sample(instance(), "a", code={"tests": [[True]] * 100, "status": []})
    assert set(Code().score(many)) == {definition.name for definition in CODE.definitions}
