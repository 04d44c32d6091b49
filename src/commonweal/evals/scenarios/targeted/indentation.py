"""Indentation of programs by tabs, as APPS and HELM show solutions as examples.

The behaviour is that of APPS's ``reindent`` (github.com/hendrycks/apps, MIT; HELM's code_scenario_helper.py), the
quirk included that levels are counted in the width of the first indented line.
"""

from __future__ import annotations

import io


def with_tabs(program: str) -> str:
    """The program with a tab for each level of indentation; each line ends with a line feed.

    >>> with_tabs("if x:\\n  y()\\n   z()")
    'if x:\\n\\ty()\\n\\t z()\\n'
    """
    unit = ""
    made = []
    for line in io.StringIO(program):  # lines end at a line feed only
        line = line.rstrip("\r\n")
        unit = unit or _unit(line)
        made.append(_retabbed(line, unit) if unit else line)
    return "".join(line + "\n" for line in made)


def _unit(line: str) -> str:
    """The indentation of a line, in its first character; none where the line is blank."""
    if line.isspace() or line[:1] not in (" ", "\t"):
        return ""
    return line[:1] * (len(line) - len(line.lstrip(" \t")))


def _retabbed(line: str, unit: str) -> str:
    level = 0
    while line.startswith(unit, level * len(unit)):
        level += 1
    return "\t" * level + line[level * len(unit) :]
