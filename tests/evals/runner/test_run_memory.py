"""Memory does not grow with a run: prompts and completions pass through, only numbers and ids stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import resource, sys
from pathlib import Path
import bench_of_one as b
done = b.run(b.planned(b.scenario(b.sums(int(sys.argv[2]), padding=2000))), Path(sys.argv[1]), b.bench())
assert done.run["status"] == "done", done.run["reason"]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(folder: Path, count: int) -> int:
    """The most memory that a run of ``count`` instances took, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(count)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_times_the_instances_take_little_more_memory(tmp_path: Path) -> None:
    """90,000 more instances, of which each has 2 KB of prompt, may take 300 bytes each: their ids and numbers."""
    small = peak(tmp_path / "small", 10_000)
    large = peak(tmp_path / "large", 100_000)
    print(f"{small / 1e6:.0f} MB at 10,000 and {large / 1e6:.0f} MB at 100,000 instances")
    assert large - small < 90_000 * 300
