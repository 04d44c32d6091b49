"""A scenario's arguments: which value was chosen, or the default. Knows no particular scenario.

Invariant: a value that is not allowed never reaches a reader; the error names the nearest that is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from commonweal.core.errors import ConfigError
from commonweal.evals.scenario import Args

Allowed = Mapping[str, tuple[str, ...]]


def chosen(args: Args, allowed: Allowed, name: str) -> str:
    """The value of the argument ``name``; the first allowed one where none was given. Raises ConfigError.

    >>> chosen({}, {"level": ("1", "2")}, "level")
    '1'
    """
    choices = allowed[name]
    value = args.get(name, choices[0] if choices else "")
    if choices and value not in choices:
        near = difflib.get_close_matches(value, choices, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else "allowed: " + ", ".join(choices)
        raise ConfigError(f"argument '{name}': '{value}' is not one of its values", hint=hint)
    return value


def is_true(args: Args, allowed: Allowed, name: str) -> bool:
    """The same for an argument of the values True and False."""
    return chosen(args, allowed, name) == "True"
