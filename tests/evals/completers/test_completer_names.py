from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, Reply, Seen, failing

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.errors import ConfigError, Unavailable
from commonweal.evals.completers.local import LocalCompleter
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.completers.remote import RemoteCompleter, RemoteOptions, remote
from commonweal.evals.completers.resolve import PROVIDERS, key_name, open_completer
from commonweal.evals.completers.retrying import Retries
from commonweal.evals.completers.transport import HttpTransport, Origin


def opened(text: str, **more: Any) -> Any:
    async def run() -> Any:
        completer, name = await open_completer(text, **more)
        await completer.close()
        return completer, name

    return asyncio.run(run())


def at(server: FakeOpenAI, suffix: str = "") -> Any:
    async def run() -> Any:
        async with server:
            completer, name = await open_completer(server.url + suffix, key="k")
            try:
                return name, await completer.complete(Request(model=name, prompt="The sky is"))
            finally:
                await completer.close()

    return asyncio.run(run())


def listing(*names: str) -> FakeOpenAI:
    def handler(seen: Seen) -> Reply:
        if seen.path == "/v1/models":
            return Reply(body={"data": [{"id": name} for name in names]})
        return Reply(body={"model": seen.body["model"], "choices": [{"text": "ok"}]})

    return FakeOpenAI(handler=handler)


def test_a_named_model_is_not_looked_up() -> None:
    server = listing("a", "b")
    name, made = at(server, "#org/name")
    assert (name, made.model) == ("org/name", "org/name")
    assert server.paths == ["/v1/completions"]
    assert server.seen[0].headers["authorization"] == "Bearer k"


def test_the_only_model_needs_no_name() -> None:
    assert at(listing("only"))[0] == "only"


def test_several_models_are_named() -> None:
    with pytest.raises(ConfigError, match="lists 2 models: a, b") as caught:
        at(listing("a", "b"))
    assert "/v1#a" in str(caught.value)
    with pytest.raises(ConfigError, match="and 30 more"):
        at(listing(*map(str, range(50))))
    with pytest.raises(ConfigError, match="no model"):
        at(listing())


def test_a_server_without_a_list_says_what_to_do() -> None:
    for body in (b"<html>", b'{"data": 7}', b"[]", b"[" * 100_000):
        with pytest.raises(Unavailable, match="/v1"):
            at(FakeOpenAI(Reply(body=body)))
    with pytest.raises(CompletionFailed, match="bad key"):
        at(FakeOpenAI(failing(401, "bad key")))


def test_providers_want_their_own_key() -> None:
    completer, name = opened("openai/gpt-x", key="k")
    assert isinstance(completer, RemoteCompleter)
    assert name == "gpt-x"
    assert opened("openrouter/meta/llama", key="k")[1] == "meta/llama"
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        opened("openai/gpt-x")
    assert all(Origin.of(provider.base_url).tls for provider in PROVIDERS.values())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("openai/gpt-x", "OPENAI_API_KEY"),
        ("https://api.openai.com/v1#gpt-x", "OPENAI_API_KEY"),
        ("https://api.openai.com.evil.example/v1#gpt-x", None),
        ("http://127.0.0.1:8080/v1", None),
        ("./openai", None),
        ("mock", None),
        ("org/model", None),
    ],
)
def test_a_key_is_looked_up_only_for_its_own_server(text: str, name: str | None) -> None:
    assert key_name(text) == name


def test_mocks_and_folders(tmp_path: Path) -> None:
    completer, name = opened("mock:always=B")
    assert isinstance(completer, MockCompleter)
    assert name == "mock:always=B"
    completer, name = opened(str(tmp_path / "my-checkpoint"))
    assert isinstance(completer, LocalCompleter)
    assert name == "my-checkpoint"
    assert isinstance(opened("org/some-model")[0], LocalCompleter)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        completer, _ = await open_completer(str(tmp_path / "nowhere"))
        await completer.probe()  # type: ignore[attr-defined]

    with pytest.raises(ConfigError, match="nowhere"):
        asyncio.run(run())


@pytest.mark.parametrize("text", ["gpt-x", "", "mocks"])
def test_what_is_none_of_these_says_which_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="a provider's model"):
        opened(text)


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="saved with the run") as told:
        opened("https://ann:secret@host/v1#m")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("https://host/v1", "https://host:443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_origins(url: str, shown: str) -> None:
    assert str(Origin.of(url)) == shown


FEW = Retries(attempts=1)


def test_tls_with_a_server_that_speaks_none_is_unreachable() -> None:
    async def run() -> None:
        async with FakeOpenAI() as server:
            transport = HttpTransport(server.url.replace("http:", "https:"), {}, connect_timeout=0.2)
            completer = RemoteCompleter(transport, model="m", options=RemoteOptions(retries=FEW))
            with pytest.raises(CompletionFailed) as caught:
                await completer.complete(Request(model="m", prompt="x"))
            assert caught.value.kind == "unreachable"
            await completer.close()

    asyncio.run(run())


def test_a_proxy_is_asked_instead() -> None:
    async def run() -> None:
        seen: list[str] = []

        def handler(request: Seen) -> Reply:
            seen.append(request.path)
            return Reply(body={"model": "m", "choices": [{"text": "by proxy"}]})

        async with FakeOpenAI(handler=handler) as proxy:
            options = RemoteOptions(proxy=proxy.url.removesuffix("/v1"), retries=FEW)
            completer = remote("http://far.invalid/v1", model="m", options=options)
            made = await completer.complete(Request(model="m", prompt="x"))
            assert made.text == "by proxy"
            assert seen == ["http://far.invalid/v1/completions"]
            await completer.close()
        completer = remote("http://far.invalid/v1", model="m", options=options)
        with pytest.raises(CompletionFailed) as caught:
            await completer.complete(Request(model="m", prompt="x"))
        assert caught.value.kind == "unreachable"
        await completer.close()

    asyncio.run(run())


def test_a_proxy_that_is_none_is_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match="proxy"):
        remote("http://far.invalid/v1", model="m", options=RemoteOptions(proxy="nonsense"))
