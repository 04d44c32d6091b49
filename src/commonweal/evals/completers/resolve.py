"""What ``--model`` names, as a completer that can be asked.

    http://127.0.0.1:8080/v1#name   an OpenAI-compatible server; without #name the only model that it lists
    openai/gpt-x                    a provider's model, by the table below
    ./folder or a path              a Hugging Face model folder on this machine
    mock, mock:MODE                 a model that is not there

The environment is not read here: the caller looks up :func:`key_name` and passes the key in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commonweal.core.completion import Completer
from commonweal.core.errors import ConfigError
from commonweal.evals.completers.local import LocalCompleter, LocalOptions
from commonweal.evals.completers.mock import mock_of
from commonweal.evals.completers.providers import PROVIDERS, Provider
from commonweal.evals.completers.remote import RemoteCompleter, RemoteOptions, remote

_FORMS = (
    "a server (http://127.0.0.1:8080/v1#name), a folder (./my-checkpoint), a provider's model (openai/gpt-x), "
    "or mock"
)


async def open_completer(
    text: str,
    *,
    key: str | None = None,
    options: RemoteOptions | None = None,
    local: LocalOptions | None = None,
    on_other_model: Callable[[str, str], None] | None = None,
) -> tuple[Completer, str]:
    """The completer that ``text`` names and the name of its model. Raises ConfigError with what to do next.

    A server is asked for its models only where the name is missing.
    """
    if text == "mock" or text.startswith("mock:"):
        return mock_of(text.partition(":")[2]), text
    if text.startswith(("http://", "https://")):
        if "@" in text.partition("#")[0].split("/")[2]:
            raise ConfigError(
                "model: an address with a password in it would be saved with the run, for all to read",
                hint="leave it out, and give the key with --key-env",
            )
        return await _server(text, key, options, on_other_model)
    if _is_folder(text):
        return _local(text, local)
    provider, slash, model = text.partition("/")
    if provider in PROVIDERS and model:
        return _provider(PROVIDERS[provider], model, key, options, on_other_model), model
    if slash:
        return _local(text, local)
    raise ConfigError(f"model: '{text}' is neither a folder nor a known form", hint=f"give {_FORMS}")


def key_name(text: str) -> str | None:
    """The environment variable in which the key for ``text`` is looked up; None where none is wanted.

    >>> key_name("openai/gpt-x")
    'OPENAI_API_KEY'
    """
    if text.startswith(("http://", "https://")):
        host = text.split("#")[0].rstrip("/")
        known = [provider.key_name for provider in PROVIDERS.values() if host == provider.base_url]
        return known[0] if known else None  # a key goes only to the server that it was made for
    named = PROVIDERS.get(text.partition("/")[0]) if not _is_folder(text) else None
    return named.key_name if named else None


async def _server(
    text: str,
    key: str | None,
    options: RemoteOptions | None,
    on_other_model: Callable[[str, str], None] | None,
) -> tuple[Completer, str]:
    base_url, _, model = text.partition("#")
    completer = remote(base_url, model=model, key=key, options=options, on_other_model=on_other_model)
    if model:
        return completer, model
    try:
        listed = list(await completer.models())
    finally:
        await completer.close()
    if len(listed) != 1:
        raise ConfigError(
            f"model: {base_url} lists {_shown(listed)}",
            hint=f"name the one to ask: {base_url}#{listed[0] if listed else 'NAME'}",
        )
    completer = remote(base_url, model=listed[0], key=key, options=options, on_other_model=on_other_model)
    return completer, listed[0]


def _provider(
    provider: Provider,
    model: str,
    key: str | None,
    options: RemoteOptions | None,
    on_other_model: Callable[[str, str], None] | None,
) -> RemoteCompleter:
    if not key:
        raise ConfigError(
            f"model: {provider.base_url} wants a key",
            hint=f"set the environment variable {provider.key_name}",
        )
    return remote(provider.base_url, model=model, key=key, options=options, on_other_model=on_other_model)


def _local(text: str, options: LocalOptions | None) -> tuple[Completer, str]:
    completer = LocalCompleter(text, options)
    return completer, Path(text).expanduser().resolve().name if _is_folder(text) else text


def _is_folder(text: str) -> bool:
    return text.startswith((".", "/", "~")) or (text != "" and Path(text).is_dir())


def _shown(models: list[str]) -> str:
    if not models:
        return "no model"
    more = f" and {len(models) - 20} more" if len(models) > 20 else ""
    return f"{len(models)} models: " + ", ".join(models[:20]) + more
