"""How much an account may ask, and the headers that say so."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from api_world import running_world

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.rates import Rates

BODY: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
PATH = "/v1/chat/completions"


def test_requests_are_limited_by_account(database: Database, blobs: Blobs) -> None:
    with running_world(database, blobs, requests_per_minute=6, processes=2) as world:
        left = [world.post(PATH, BODY).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        with pytest.raises(openai.RateLimitError) as refused:
            world.client().chat.completions.create(**BODY)
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.type == "requests"
        headers = refused.value.response.headers
        assert 0 < int(headers["retry-after"]) <= 60
        assert headers["x-ratelimit-limit-requests"] == "3"
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        assert world.post(PATH, BODY, name="bob").status_code == 200
        assert len(world.desk.asks) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted_when_they_are_made(database: Database, blobs: Blobs, stream: bool) -> None:
    with running_world(database, blobs, tokens_per_minute=100_000) as world:
        body = BODY | {"stream": stream, "n": 100}  # 7 tokens of prompt, 800 made
        first = world.post(PATH, body).headers
        second = world.post(PATH, body).headers
        assert first["x-ratelimit-limit-tokens"] == "100000"
        used = int(first["x-ratelimit-remaining-tokens"]) - int(second["x-ratelimit-remaining-tokens"])
        assert used == 807


def test_a_request_of_more_tokens_than_are_left() -> None:
    rates = Rates(requests=10, tokens=100)
    rates.admit("ann", 60)
    with pytest.raises(ApiError) as refused:
        rates.admit("ann", 60)
    assert (refused.value.status, refused.value.type) == (429, "tokens")
    rates.admit("ann", 40)
    rates.admit("bob", 60)
