"""``commonweal site``: the evaluation site of saved runs as plain files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from commonweal import console
from commonweal.console import safe, size
from commonweal.core.errors import ConfigError
from commonweal.web.site import export, load
from commonweal.web.site.label import read_labels

_MOST_PAIRS = 1_000


def pairs_of(words: Sequence[str]) -> list[tuple[str, str]]:
    """What ``--compare A,B`` asks for. Raises ConfigError."""
    if len(words) > _MOST_PAIRS:
        raise ConfigError(f"--compare: {len(words):,} pairs, and {_MOST_PAIRS:,} are the most")
    made = []
    for word in words:
        a, comma, b = word.partition(",")
        if not (a.strip() and comma and b.strip()) or "," in b:
            raise ConfigError(f"--compare '{word[:80]}': not two models", hint="--compare A,B")
        made.append((a.strip(), b.strip()))
    return made


def export_site(
    paths: Sequence[Path],
    out: Path,
    releases: Path | None,
    labels: Path | None,
    compare: Sequence[str],
    reported: Path | None = None,
    *,
    skip_damaged: bool,
    as_json: bool,
) -> None:
    """Write the site of the runs below ``paths`` into ``out``, in place of an earlier one."""
    began = time.monotonic()
    with console.live_line("reading the runs", shown=not as_json) as tell:
        told = read_labels(labels) if labels is not None else None
        site = load(paths, releases, labels=told, wanted=pairs_of(compare), reported=reported)

        def progress(files: int) -> None:
            tell(f"writing: {files:,} files")

        done = export(site, out, progress, skip_damaged=skip_damaged)
    seconds = time.monotonic() - began
    if as_json:
        console.print_json(
            {
                "folder": str(out),
                "runs": len(site.runs),
                "damaged": len(site.found.damaged),
                "models": len(site.model_slugs),
                "scenarios": len(site.scenario_slugs),
                "boards_of_others": len(site.reported),
                "files": done.files,
                "bytes": done.size,
                "largest_page": done.largest,
                "largest_page_bytes": done.largest_size,
                "seconds": round(seconds, 3),
            }
        )
        return
    console.out.print(
        f"{_counted(len(site.runs), 'run')} of {_counted(len(site.model_slugs), 'model')}: "
        f"{done.files:,} files, {size(done.size)}, in {seconds:.1f} s"
    )
    if site.reported:
        console.out.print(f"{_counted(len(site.reported), 'board')} of others, not measured here")
    if told is not None and (others := sorted(told.by_name.keys() - set(site.model_slugs.values()))):
        console.out.print(f"no run is of: {safe(', '.join(others))}; their labels are left out")
    console.out.print(safe(str(out / "index.html")))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
