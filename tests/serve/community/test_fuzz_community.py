"""Strangers' bytes at the community loop: every answer is a success or an error in OpenAI's shape, never a 5xx."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import schemathesis
from community_hub import CommunityHub
from hypothesis import given, settings
from test_community_asking import answer, begin

from fuzzing import FUZZ

HEADERS = {"Authorization": "Bearer cw-op"}


def well_formed(status: int, content: bytes) -> bool:
    if status < 400:
        return True
    told = json.loads(content)["error"]
    return set(told) == {"message", "type", "param", "code"} and bool(told["message"]) and status < 500


def test_no_request_is_a_mistake_of_the_hub(hub: CommunityHub) -> None:
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json")

    def there() -> dict[str, str]:
        """Ids of things that are there, so that not every request ends at an unknown one."""
        with hub.client("cw-op") as client:
            conversation = begin(client, consent="publish")
            message = answer(client, conversation, "Hello")["id"]
            client.put(f"/v1/community/messages/{message}/thumb", json={"rating": 1})
            review = client.get("/v1/community/reviews?status=accepted").json()["data"][-1]["id"]
            begun = client.post("/v1/community/improvements", json={"model": "large"})
            if begun.status_code == 201:
                improvements.append(begun.json()["id"])
            return {
                "conversation": conversation,
                "message": message,
                "review": review,
                "improvement": improvements[-1],
            }

    ids: dict[str, str] = {}
    improvements: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if "/community/" not in operation.path:
            continue
        ids.update(there())

        @settings(FUZZ, max_examples=20)
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            if case.path_parameters and answers.total() % 2:
                case.path_parameters.update({k: v for k, v in ids.items() if k in case.path_parameters})
            if isinstance(case.body, dict) and answers.total() % 3:
                case.body.update({k: v for k, v in LIKELY.items() if k in case.body})
            reply = case.call(headers=HEADERS)
            answers[reply.status_code] += 1
            assert well_formed(reply.status_code, reply.content), (case.method, case.path, reply.text[:500])

        one()
    assert answers[200] > 40
    assert answers[400] > 20
    assert answers[404] > 20


LIKELY = {"model": "small", "models": ["small", "large"], "licence": None, "parent": None, "tools": None}
