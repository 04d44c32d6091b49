"""Moderation of an answer while it is made: its reader sees a word when the text up to it may pass.

Words are judged as they are complete, within the last :data:`WINDOW` characters; the whole once more at its end. What
was shown before a phrase was complete was shown: the page takes it back, a program that reads the stream has it.
"""

from __future__ import annotations

from commonweal.serve.community.moderation import Moderator

WINDOW = 300


class Screen:
    """The text so far, what of it was let through, and what is wrong with it."""

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator
        self._shown = 0
        self.text = ""
        self.flags: tuple[str, ...] = ()

    def more(self, text: str) -> str:
        """What may be shown now; nothing any more once the text has been flagged."""
        self.text += text
        end = max(self.text.rfind(" "), self.text.rfind("\n")) + 1
        return self._let_through(end)

    def end(self) -> str:
        """The rest."""
        rest = self._let_through(len(self.text))
        if not self.flags:
            self.flags = self._moderator.flags(self.text, "answer") if self.text else ()
        return "" if self.flags else rest

    def _let_through(self, end: int) -> str:
        if end <= self._shown or self.flags:
            return ""
        self.flags = self._moderator.flags(self.text[max(0, end - WINDOW) : end], "answer")
        if self.flags:
            return ""
        shown = self.text[self._shown : end]
        self._shown = end
        return shown
