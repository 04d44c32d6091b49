"""The section on the evaluation site, from what bench/site.py measured."""

from __future__ import annotations

from report_page import Found, Section, Verdict, provenance, table

SECONDS = 60.0
MEMORY_GB = 1.0
FULL = (30, 42, 1000)
"""Models, scenarios and instances that the goals are for: a smaller measurement can miss them but not meet them."""


def site(found: Found) -> Section:
    settings, export = found["settings"], found["export"]
    size = (settings["models"], settings["scenarios"], settings["instances"])
    whole = size == FULL
    instances = size[0] * size[1] * size[2]
    said = f"{size[0]} models x {size[1]} scenarios x {size[2]:,} instances"
    lines = [
        f"What: `commonweal site` over {said}: generated runs with five examples in a prompt, passages, long answers, "
        "twelve numbers a sample, and log-probabilities of every token in a third of the scenarios; each instance in "
        "one form. How: the command as a person starts it; memory is that of all its processes together, shared pages "
        "counted once.",
        "",
        *provenance(found),
        *table(
            ("the export", "found"),
            [
                ["wall time", f"{export['wall']:.0f} s"],
                ["processor time", f"{export['cpu']:.0f} s"],
                ["processor time an instance", f"{export['cpu'] / instances * 1e6:.0f} us"],
                ["memory, all processes", f"{export['memory'] / 1e9:.2f} GB"],
                ["processes", str(export["processes"])],
                ["files", f"{export['files']:,}"],
                [
                    "size",
                    f"{export['bytes'] / 1e9:.2f} GB ({export['bytes'] / instances:,.0f} bytes an instance)",
                ],
                ["size on disk", f"{export['on_disk'] / 1e9:.2f} GB"],
                ["largest page", f"{export['largest_page_bytes'] / 1e3:,.0f} kB ({export['largest_page']})"],
            ],
        ),
        *_live(found),
    ]
    verdicts = [
        Verdict(
            what=f"site, export of {instances:,} instances",
            goal=f"under {SECONDS:.0f} s on 2 cores",
            found=f"{export['wall']:.0f} s",
            met=export["wall"] < SECONDS if whole else False if export["wall"] >= SECONDS else None,
        ),
        Verdict(
            what="site, memory of the export",
            goal=f"under {MEMORY_GB:g} GB",
            found=f"{export['memory'] / 1e9:.2f} GB",
            met=export["memory"] < MEMORY_GB * 1e9 if whole else None,
        ),
    ]
    return Section(title="h. The evaluation site", lines=lines, verdicts=verdicts)


def _live(found: Found) -> list[str]:
    live = found["live"]
    rows = [[name, f"{rate:,.0f}"] for name, rate in live["a_second"].items()]
    return [
        "Live: the first page after a start, for which all runs are read, takes "
        f"{live['first_board_seconds']:.1f} s, the next {live['board_seconds'] * 1e3:.0f} ms. Pages a second over "
        f"{found['settings']['connections']} connections to one process on loopback, which share the cores with it:",
        *table(("page", "a second"), rows),
    ]
