"""Arrow arrays by their buffers: the same as pyarrow's own, and no pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.evals.columns import column

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOAT = st.floats(allow_nan=False)
REFERENCE = pa.struct([("text", pa.string()), ("correct", pa.bool_()), ("grade", pa.int32())])
TOP = pa.map_(pa.string(), pa.float64())
INT = st.integers(-(2**31), 2**31 - 1)

KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXT),
    (pa.bool_(), st.booleans()),
    (pa.int32(), INT),
    (pa.int64(), INT),
    (pa.float64(), FLOAT),
    (pa.list_(pa.string()), st.lists(st.none() | TEXT, max_size=4)),
    (pa.list_(pa.float64()), st.lists(FLOAT, max_size=4)),
    (
        pa.list_(REFERENCE),
        st.lists(
            st.none()
            | st.fixed_dictionaries({"text": TEXT, "correct": st.booleans(), "grade": st.none() | INT}),
            max_size=4,
        ),
    ),
    (TOP, st.lists(st.tuples(TEXT, st.none() | FLOAT), max_size=4)),
    (
        pa.list_(pa.struct([("text", pa.string()), ("top", TOP)])),
        st.lists(
            st.fixed_dictionaries({"text": TEXT, "top": st.none() | st.lists(st.tuples(TEXT, FLOAT))}),
            max_size=3,
        ),
    ),
]


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_columns_are_those_of_pyarrow(kind: pa.DataType, value: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None)
    @given(st.lists(st.none() | value, max_size=20))
    def check(values: list[Any]) -> None:
        made = column(values, kind)
        made.validate(full=True)
        assert made.equals(pa.array(values, kind))

    check()


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=[str(kind) for kind, _ in KINDS])
def test_columns_of_one_value(kind: pa.DataType, value: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None)
    @given(st.none() | value, st.integers(0, 20))
    def check(value: Any, count: int) -> None:
        made = column((value,) * count, kind)
        made.validate(full=True)
        assert made.equals(pa.array([value] * count, kind))

    check()


def test_the_sign_of_a_zero_is_kept() -> None:
    made = column((0.0, -0.0), pa.float64())
    assert [str(value) for value in made.to_pylist()] == ["0.0", "-0.0"]


def test_writing_tables_imports_no_pandas() -> None:
    code = """
import sys, pathlib, tempfile
from commonweal.evals.tables import write_stats, read_stats
from commonweal.evals.sample import Stat
folder = pathlib.Path(tempfile.mkdtemp())
write_stats(folder, [Stat(name="a", mean=0.5, n=2)])
assert read_stats(folder) == [Stat(name="a", mean=0.5, n=2)]
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
