"""Perturbing text, and instances by their text: what most perturbations have in common.

HELM's rules (``augmentations/perturbation.py``): the references are changed before the input and with the same random
stream, and only by perturbations that say so; an instance whose input did not change is no perturbed instance.
"""

from __future__ import annotations

import random as rng
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from commonweal.evals.instance import Instance, Reference
from commonweal.evals.perturbations.perturbation import Kind
from commonweal.evals.perturbations.word_lists import word_list

Change = Callable[[str, rng.Random], str]
Begin = Callable[[], Change]

HELM = "HELM 0.5.16, augmentations (Liang et al. 2022, appendix on perturbations)"


class TextPerturbation:
    """Changes the input, and with ``references`` also the references. ``begin`` gives the change for one instance,
    anew for each, so that a change may remember something from text to text (a name's substitute).

    Nothing is read before it is needed: ``make`` gives ``begin``, ``words`` names the list of version and source.
    """

    def __init__(
        self, name: str, kind: Kind, words: str, make: Callable[[], Begin], *, references: bool = False
    ) -> None:
        self.name = name
        self.kind = kind
        self._words = words
        self._make = make
        self._references = references
        self._begin: Begin | None = None

    @property
    def version(self) -> str:
        return word_list(self._words).version if self._words else "1"

    @property
    def source(self) -> str:
        return word_list(self._words).source if self._words else HELM

    def apply(self, instance: Instance, random: rng.Random) -> Instance | None:
        begin = self._begin
        if begin is None:
            begin = self._begin = self._make()
        change = begin()
        references = instance.references
        if self._references:
            references = tuple([_changed(reference, change, random) for reference in references])
        text = change(instance.input, random)
        if text == instance.input:
            return None
        return replace(instance, input=text, references=references, perturbation=self.name)


def _changed(reference: Reference, change: Change, random: rng.Random) -> Reference:
    text = change(reference.text, random)
    return reference if text == reference.text else replace(reference, text=text)


def match_case(source: str, target: str) -> str:
    """``target`` in the case of ``source``: all lower, all upper, or capitalised; unchanged where it is mixed, or where
    it holds anything but letters (HELM, ``match_case``).

    >>> match_case("Jack", "lamar"), match_case("JACK", "lamar"), match_case("don't", "do not")
    ('Lamar', 'LAMAR', 'do not')
    """
    if source.isalpha():
        if all(map(str.islower, source)):
            return target.lower()
        if all(map(str.isupper, source)):
            return target.upper()
    return target.capitalize() if source[:1].isupper() else target


def lowered(text: str) -> str:
    """Lower case, letter by letter, so that positions stay (a few letters become two in lower case)."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join([letter if len(letter.lower()) != 1 else letter.lower() for letter in text])


def below(n: int, random: rng.Random) -> int:
    """A number from 0 to n - 1, drawn as ``random.randrange(n)`` draws it, in a third of the time."""
    bits = n.bit_length()
    drawn = random.getrandbits(bits)
    while drawn >= n:
        drawn = random.getrandbits(bits)
    return drawn


def alternatives(expressions: Iterable[str]) -> str:
    """A pattern for one of ``expressions``, the first in order that fits; quicker than a plain list of alternatives,
    as only those with the right first letter are tried.

    >>> alternatives(["is", "he is", "i"])
    '(?:i(?:s|)|h(?:e\\\\ is))'
    """
    by_first: dict[str, list[str]] = {}
    for expression in dict.fromkeys(expressions):
        by_first.setdefault(expression[0], []).append(re.escape(expression[1:]))
    groups = [f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items()]
    return f"(?:{'|'.join(groups)})"
