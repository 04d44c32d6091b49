"""``commonweal improve``: feedback becomes a model's next version, if the next version is better.

The hub does it; this asks it to, and tells what it says until it is over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from commonweal import console
from commonweal.core.errors import NotFound, Refused, Unavailable, UserError
from commonweal.pool.worker.answers import check, reached

_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_LOOK_SECONDS = 1.0
_PATH = "/v1/community/improvements"
_USERS = frozenset({"too_little_feedback", "invalid_request", "invalid_config", "invalid_data"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """The flags of ``commonweal improve``. ``guards`` are scenarios that the new version must not be worse at, each
    over ``instances`` instances. ``follow``: begin none, but look at the last one."""

    model: str
    guards: tuple[str, ...]
    instances: int
    fewest: int
    epochs: int | None
    follow: bool
    json: bool


def run_improve(
    url: str, key: str, wishes: Improvement, *, transport: httpx.BaseTransport | None = None
) -> Mapping[str, Any]:
    """Have the next version made, measured, and promoted or refused. Raises UserError where there is too little
    feedback, and Refused or Unavailable where it came to nothing."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, transport=transport) as http:
        made = _last(http, wishes.model) if wishes.follow else _begun(http, wishes)
        try:
            made = _followed(http, made, wishes)
        except KeyboardInterrupt:
            again = f"commonweal improve {wishes.model} --follow"
            console.err.print(console.safe(f"the hub goes on with {made['id']}; to look again: {again}"))
            raise
        _raise_what_failed(made)
        if wishes.json:
            console.print_json(_with_feedback(http, made))
        elif made["state"] == "promoted":
            console.out.print(console.safe(f"{made['model']}:latest is now {made['candidate']}"))
        else:
            console.out.print(
                console.safe(f"{made['model']} stays; the candidate is kept as {made['candidate']}")
            )
    return made


def _begun(http: httpx.Client, wishes: Improvement) -> dict[str, Any]:
    body = {
        "model": wishes.model,
        "guards": list(wishes.guards),
        "instances": wishes.instances,
        "epochs": wishes.epochs,
        "fewest": wishes.fewest,
    }
    return _call(http, "POST", _PATH, json=body)


def _last(http: httpx.Client, model: str) -> dict[str, Any]:
    found = _call(http, "GET", _PATH, params={"model": model.removesuffix(":latest"), "limit": "1"})["data"]
    if not found:
        raise NotFound(f"nobody has improved '{model}' yet", hint=f"commonweal improve {model}")
    return dict(found[0])


def _followed(http: httpx.Client, made: dict[str, Any], wishes: Improvement) -> dict[str, Any]:
    """The improvement when it is over; its lines are told as they come."""
    told = 0
    with console.live_line(made["state"], shown=not wishes.json) as say:
        while True:
            for line in made["lines"][told:]:
                if not wishes.json:
                    console.out.print(console.safe(line["text"]))
            told = len(made["lines"])
            if made["finished"] is not None:
                return made
            say(f"{made['state']}: {made['detail']}" if made["detail"] else made["state"])
            time.sleep(_LOOK_SECONDS)
            made = _call(http, "GET", f"{_PATH}/{made['id']}")


def _raise_what_failed(made: Mapping[str, Any]) -> None:
    if made["state"] == "cancelled":
        raise Refused(f"{made['id']} was cancelled")
    if made["state"] == "failed":
        error = made["error"]
        kind = (
            UserError if error["code"] in _USERS else Refused if error["code"] == "refused" else Unavailable
        )
        raise kind(error["message"], hint=error["hint"])


def _with_feedback(http: httpx.Client, made: Mapping[str, Any]) -> dict[str, Any]:
    """Which feedback went in, by the data set's manifest."""
    manifest = _call(http, "GET", f"/v1/community/datasets/{made['dataset']}")["manifest"]
    counts = {name: file["examples"] for name, file in manifest["files"].items()}
    told = {"feedback": manifest["feedback"], "licences": manifest["licences"], "examples": counts}
    return {**made, **told}


def _call(http: httpx.Client, method: str, path: str, **sent: Any) -> dict[str, Any]:
    with reached("the hub"):
        response = http.request(method, path, **sent)
    check(response)
    return dict(response.json())
