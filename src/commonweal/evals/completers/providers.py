"""Providers of models whose names may stand for an address: ``openai/gpt-x``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a provider's API is, and which environment variable holds its users' keys."""

    base_url: str
    key_name: str


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(base_url="https://api.openai.com/v1", key_name="OPENAI_API_KEY"),
    "openrouter": Provider(base_url="https://openrouter.ai/api/v1", key_name="OPENROUTER_API_KEY"),
    "together": Provider(base_url="https://api.together.xyz/v1", key_name="TOGETHER_API_KEY"),
    "groq": Provider(base_url="https://api.groq.com/openai/v1", key_name="GROQ_API_KEY"),
    "mistral": Provider(base_url="https://api.mistral.ai/v1", key_name="MISTRAL_API_KEY"),
    "deepseek": Provider(base_url="https://api.deepseek.com/v1", key_name="DEEPSEEK_API_KEY"),
    "fireworks": Provider(base_url="https://api.fireworks.ai/inference/v1", key_name="FIREWORKS_API_KEY"),
}
