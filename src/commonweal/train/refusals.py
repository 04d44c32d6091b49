"""What the verdicts in a round's record mean, for people."""

from __future__ import annotations

REFUSALS = {
    "stale": "of another round",
    "copy": "the same as another member's",
    "empty": "nothing in it",
    "no_gain": "no better than noise",
    "diverged": "it did not start from the round's weights",
    "not_finite": "not a number",
    "huge_norm": "absurdly large",
    "raises_loss": "it makes the model worse",
    "oversized": "larger than what it encodes",
    "truncated": "its end is missing",
    "bad_header": "not a contribution",
    "impossible": "more than was asked for",
}
"""By the word in the record; a word that is not here speaks for itself."""
