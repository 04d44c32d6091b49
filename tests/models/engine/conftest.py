"""A Llama of two layers for every test of the engine, and engines that are closed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from engine_models import save_model

from commonweal.models.engine.local import LocalEngine
from commonweal.models.engine.options import EngineOptions

T = TypeVar("T")
Serving = Callable[..., Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture
def serving() -> Serving:
    """``serving({"m": folder}, use)`` runs ``use(engine)`` with these models loaded, and closes the engine."""

    def run(
        models: dict[str, Path],
        use: Callable[[LocalEngine], Awaitable[T]],
        *,
        adapters: dict[str, tuple[str, Path]] | None = None,
        **options: Any,
    ) -> T:
        async def main() -> T:
            engine = LocalEngine(EngineOptions(threads=1, **options))
            try:
                for name, folder in models.items():
                    await engine.load(name, folder)
                for name, (base, folder) in (adapters or {}).items():
                    await engine.load_adapter(name, base, folder)
                return await use(engine)
            finally:
                await engine.close()

        return asyncio.run(main())

    return run
