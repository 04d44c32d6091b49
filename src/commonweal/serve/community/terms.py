"""What a user allows to be done with a conversation, and under which licence. Nothing, unless they say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonweal.core.errors import UserError

Consent = Literal["none", "improve", "publish"]

HERE_ONLY = "LicenseRef-Commonweal-Training"
"""Not a public licence: this hub may train and measure its models with it, and may not hand it on."""

LICENCES: dict[Consent, tuple[str, ...]] = {
    "none": (),
    "improve": (HERE_ONLY,),
    "publish": ("CC0-1.0", "CC-BY-4.0"),
}
"""The licences that go with each consent, the first of them unless another is named."""

MEANINGS: dict[Consent, str] = {
    "none": "Kept for you only. Never used for training.",
    "improve": "This hub may use it, and what you say of the answers, to train and measure its models. "
    "It is not handed on.",
    "publish": "As above, and it may be published in open data sets under the licence that you choose.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Raises UserError where licence and consent do not go together."""

    consent: Consent = "none"
    licence: str | None = None

    def __post_init__(self) -> None:
        known = LICENCES[self.consent]
        if (self.licence is None) != (not known) or (known and self.licence not in known):
            raise UserError(
                f"consent '{self.consent}' does not go with the licence '{self.licence or 'none'}'",
                hint="its licences: " + (", ".join(known) or "none"),
            )


def terms(consent: Consent, licence: str | None = None) -> Terms:
    """The terms of a choice; without a licence the first that goes with the consent.

    >>> terms("publish").licence
    'CC0-1.0'
    """
    known = LICENCES[consent]
    return Terms(consent=consent, licence=licence if licence is not None else next(iter(known), None))
