"""Stop strings in a text that comes in pieces: found across the borders of tokens, and never half shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Feed it text; it gives back what no stop string can begin in any more.

    >>> stops = StopStrings(["END"])
    >>> stops.add("a E"), stops.add("N"), stops.add("D b"), stops.found
    ('a ', '', '', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._most = max((len(stop) for stop in self._stops), default=0) - 1
        self._held = ""
        self.found = False

    def add(self, text: str) -> str:
        """What of the text so far is final and was not given before."""
        if not self._stops or self.found:
            return "" if self.found else text
        text = self._held + text
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)]
        hold = self._beginning_of_one(text)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def end(self) -> str:
        """The rest, when no more comes."""
        held, self._held = self._held, ""
        return held

    def _beginning_of_one(self, text: str) -> int:
        """How many characters at the end of ``text`` may begin a stop string."""
        for count in range(min(len(text), self._most), 0, -1):
            if any(stop.startswith(text[-count:]) for stop in self._stops):
                return count
        return 0
