"""A whole hub for tests: the pool's keys and members, the API, and machines with mock engines."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from commonweal.app import FirstKeys
from commonweal.core.blobs import Blobs
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.member import ServeSettings, ServingMember


@dataclass(frozen=True, slots=True)
class Whole:
    url: str
    keys: FirstKeys
    blobs: Blobs
    folder: Path

    def http(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def openai(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=5)

    def registered(self, key: str) -> dict[str, Any]:
        """A machine that the account of ``key`` brings."""
        body = {
            "name": "pc",
            "client_version": "0.1.0",
            "roles": ["serve"],
            "request_id": f"register-{key[-6:]}",
        }
        with self.http(key) as client:
            reply = client.post("/pool/v1/members", json=body)
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    @contextmanager
    def member(self, key: str) -> Iterator[None]:
        """A machine that serves, from when the hub knows it."""
        settings = ServeSettings(
            url=self.url, key=key, folder=self.folder / key[-6:], memory=2**30, grace=1.0
        )
        there = threading.Event()
        told = lambda event: there.set() if event.what == "connected" else None  # noqa: E731
        member = ServingMember(settings, MockEngine(length=6), self.blobs.get, told=told)
        member.start()
        try:
            assert there.wait(20)
            yield
        finally:
            member.stop()

    def publish(self, name: str) -> None:
        header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        files = {
            "config.json": self.blobs.put(b'{"max_position_embeddings": 256}'),
            "model.safetensors": self.blobs.put(struct.pack("<Q", len(header)) + header + bytes(8)),
        }
        with self.http(self.keys.admin) as client:
            reply = client.post("/serve/v1/models", json={"name": name, "files": files})
        assert reply.status_code == 201, reply.text

    def user(self, label: str = "ada", microcredits: int = 0) -> str:
        """The key of a new user, who has so much."""
        with self.http(self.keys.admin) as client:
            key = str(client.post("/pool/v1/keys", json={"role": "user", "label": label}).json()["key"])
            if microcredits:
                grant = {
                    "account": f"user:{label}",
                    "microcredits": microcredits,
                    "request_id": f"grant-{label}",
                }
                assert client.post("/pool/v1/credits/grant", json=grant).is_success
        return key
