"""Who published a model, as strangers are told: a name only where its publisher gave one.

An account's id may be a person's name or an address of mail, and who made it did not ask to stand on a page. So the
name is what the publisher states in ``label.toml`` (``[accountability] publisher``); else it is 'an account of this
hub'. The operator's account is no person's. Pure.
"""

from __future__ import annotations

from commonweal.core.errors import ConfigError
from commonweal.labels.facts import Fact
from commonweal.labels.stated import answered
from commonweal.serve.catalogue import ServedModel

KEY = "accountability.publisher"
BY = "its publisher"
"""Whose word it is that a publisher states."""

OPERATOR = "operator"


def account_told(owner: str) -> str:
    """An account, without its name.

    >>> account_told("user:ada"), account_told("operator")
    ('an account of this hub', 'the operator of this hub')
    """
    return "the operator of this hub" if owner == OPERATOR else "an account of this hub"


def publisher_stated(model: ServedModel) -> Fact | None:
    """The name that a publisher gives itself, None where it gives none."""
    stated = model.lineage.get("stated")
    if not isinstance(stated, dict) or KEY not in stated:
        return None
    try:
        fact = answered(KEY, stated[KEY], by=BY, where="stated")
    except ConfigError:  # it came over the network
        return None
    return fact if fact.status == "disclosed" else None


def publisher_told(model: ServedModel) -> str:
    """Who published it, in a few words."""
    fact = publisher_stated(model)
    return fact.text if fact is not None else account_told(model.owner)
