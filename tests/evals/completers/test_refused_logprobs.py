"""A chat that answers 400 to a request for log-probabilities is known to have none, and is not asked for them again."""

from __future__ import annotations

import asyncio

from fake_openai import FakeOpenAI, Reply, Seen, chat, failing

from commonweal.core.completion import Abilities
from commonweal.evals.completers.remote import RemoteCompleter
from commonweal.evals.completers.transport import HttpTransport


def refuses(seen: Seen) -> Reply:
    if seen.path != "/v1/chat/completions":
        return Reply(status=404, body={"detail": "Not Found"})
    if seen.body.get("logprobs"):
        return failing(400, "logprobs: not permitted for this model")
    return Reply(body=chat())


def test_a_refusal_of_logprobs_is_remembered() -> None:
    async def probed() -> Abilities:
        async with FakeOpenAI(handler=refuses) as server:
            completer = RemoteCompleter(HttpTransport(server.url, {}), model="tiny")
            try:
                return await completer.probe()
            finally:
                await completer.close()

    can = asyncio.run(probed())
    assert (can.chat, can.complete, can.logprobs) == (True, False, False)
