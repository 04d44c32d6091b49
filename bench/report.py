"""Renders bench/results.md from what the other scripts measured. Every number comes from bench/data; only the goals
are written here and in the sections (report_quality.py, report_pool.py, report_evals.py, report_serve.py,
report_site.py).

    python bench/report.py [--data bench/data] [--out bench/results.md]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from report_evals import evals
from report_page import NOT_RUN, Found, Section, Verdict, table
from report_pool import codecs, gain, hub, links
from report_quality import quality
from report_serve import serve
from report_site import site

SECTIONS: dict[str, tuple[str, Callable[[Found], Section]]] = {
    "quality": ("a. Quality at equal tokens", quality),
    "links": ("b. Speed over slow links", links),
    "codecs": ("c. Compression cost", codecs),
    "hub": ("d. The hub", hub),
    "gain": ("e. Gain", gain),
    "evals": ("f. Evaluation", evals),
    "serve": ("g. Serving", serve),
    "site": ("h. The evaluation site", site),
}


def render(data: Mapping[str, Found]) -> str:
    """The page, from the results by script; one that is missing is said to be missing."""
    sections = [_section(name, data.get(name)) for name in SECTIONS]
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    summary = [[v.what, v.goal, v.found, v.word] for v in verdicts]
    lines = [
        "# Measurements",
        "",
        "Written by `make bench` from the runs recorded in bench/data; bench/README.md says how each is made. "
        "Not to be edited.",
        *table(("what", "goal", "found", "goal met"), summary),
    ]
    for section in sections:
        lines += [f"## {section.title}", "", *section.lines, ""]
    return "\n".join(_without_doubles(lines)).rstrip() + "\n"


def _section(name: str, found: Found | None) -> Section:
    title, make = SECTIONS[name]
    if found is None:
        missing = Verdict(what=title[3:].lower(), goal="", found=NOT_RUN, met=None)
        return Section(title=title, lines=[f"Not run yet: `make bench-{name}`."], verdicts=[missing])
    return make(found)


def _without_doubles(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept


def load(folder: Path) -> dict[str, Found]:
    """The results that are there."""
    files = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Render bench/results.md from bench/data.")
    parser.add_argument("--data", type=Path, default=Path("bench/data"))
    parser.add_argument("--out", type=Path, default=Path("bench/results.md"))
    arguments = parser.parse_args()
    arguments.out.write_text(render(load(arguments.data)))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
