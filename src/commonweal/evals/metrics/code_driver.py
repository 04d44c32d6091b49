"""Runs APPS tests inside the jail: it is handed in as a program and never imported by the package.

Standard input holds JSON: ``tests`` (``inputs``, ``outputs``, perhaps ``fn_name``), ``seconds`` for each test, ``mark``
and ``packages``. ``/box/candidate`` is the program to be tested. Each test runs in a process of its own, whose output
comes back by a pipe; what is judged here is written as lines ``<mark> <index> <passed|failed|error|timeout>``.

The comparison is as lenient as the authors' (Hendrycks et al. 2021; HELM, code_metrics_helper.py): white space, the
last digits of numbers and, in the end, the order of lines and of words do not count. Unlike theirs, a program that
reads standard input runs as ``__main__``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from typing import Any

PRELUDE = (
    "import sys, time, itertools, collections, math, random, heapq, fractions\n"
    "from itertools import accumulate, product, permutations, combinations\n"
    "from collections import Counter, OrderedDict, deque, defaultdict, ChainMap\n"
    "from functools import lru_cache\n"
    "from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2\n"
    "from typing import *\nfrom heapq import *\n"
    "try:\n    import numpy as np\nexcept ImportError:\n    pass\n"
)


def main() -> None:
    given = json.load(sys.stdin)
    with open("/box/candidate", encoding="utf-8") as text:
        source = PRELUDE + text.read()
    if given["packages"]:
        sys.path.append(given["packages"])
    tests = given["tests"]
    for index, (asked, wanted) in enumerate(zip(tests["inputs"], tests["outputs"], strict=False)):
        verdict, said = in_child(source, tests.get("fn_name"), asked, given["seconds"])
        if verdict == "ran":
            same = called_right(said, wanted) if tests.get("fn_name") else printed_right(said, wanted)
            verdict = "passed" if same else "failed"
        sys.stdout.write(f"{given['mark']} {index} {verdict}\n")
        sys.stdout.flush()


def in_child(source: str, function: str | None, asked: object, seconds: float) -> tuple[str, str]:
    """How the candidate ended, and what it wrote (or returned, as JSON)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        code = 1
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            code = run(source, function, asked, write)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read(1 << 24).decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return ("timeout" if os.WTERMSIG(status) == signal.SIGALRM else "error"), ""
    return ("ran" if os.WEXITSTATUS(status) == 0 else "error"), said


def run(source: str, function: str | None, asked: object, write: int) -> int:
    """Inside the child: 0 if the candidate ended well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if function is None:
        text = "\n".join(map(str, asked)) if isinstance(asked, list) else str(asked)
        feed(text)
        os.dup2(write, 1)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        try:
            exec(compile(source, "candidate", "exec"), {"__name__": "__main__"})  # noqa: S102 - we are in the jail
        except SystemExit as end:
            return int(bool(end.code))
        finally:
            sys.stdout.flush()
        return 0
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    names: dict[str, Any] = {"__name__": "candidate"}
    exec(compile(source, "candidate", "exec"), names)  # noqa: S102
    owner = names["Solution"]() if "Solution" in names else None
    method = getattr(owner, function) if owner is not None else names[function]
    arguments = [keyed(one) for one in asked] if isinstance(asked, list) else [asked]
    os.write(write, json.dumps(method(*arguments)).encode())
    return 0


def feed(text: str) -> None:
    """``text`` becomes standard input, from a file: a pipe would fill up."""
    path = f"/tmp/stdin-{os.getpid()}"  # noqa: S108 - the jail's own
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.dup2(os.open(path, os.O_RDONLY), 0)
    os.unlink(path)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)


def keyed(value: object) -> object:
    """JSON has text keys only; the authors' tests mean integers by them."""
    if isinstance(value, dict):
        try:
            return {int(key): one for key, one in value.items()}
        except ValueError:
            return value
    return value


def called_right(said: str, wanted: object) -> bool:
    try:
        value = json.loads(said)
    except ValueError:
        return False
    return value == wanted or (isinstance(wanted, list) and len(wanted) > 0 and value == wanted[0])


def printed_right(said: str, wanted: object) -> bool:
    text = "\n".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    if said.strip() == text.strip():
        return True
    mine, theirs = lines(said), lines(text)
    if mine == theirs or close(said.split(), text.split()):
        return True
    return {frozenset(line.split()) for line in mine} == {frozenset(line.split()) for line in theirs}


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def close(mine: list[str], theirs: list[str]) -> bool:
    try:
        pairs = [(float(a), float(b)) for a, b in zip(mine, theirs, strict=True)]
    except ValueError:
        return False
    return all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-8) for a, b in pairs)


if __name__ == "__main__":
    main()
