"""The real llama.cpp server, where there is one: started by a member, fronted, and asked through the hub.

It runs where LLAMA_SERVER names the program, or it was built by ``python bench/llama_cpp.py``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def llama_cpp(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import llama_cpp

    if not (llama_cpp.home() / "CMakeLists.txt").exists():
        pytest.skip("llama.cpp is not here: python bench/llama_cpp.py builds it")
    if not (os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or llama_cpp.built().exists()):
        pytest.skip("there is no llama-server: python bench/llama_cpp.py builds it")
    return llama_cpp


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_member_starts_it_and_it_writes_what_our_engine_writes(llama_cpp: Any, tmp_path: Path) -> None:
    import serve_engine

    from commonweal.core.completion import Request
    from commonweal.core.streaming import collected
    from commonweal.models.engine.fronted import FrontedEngine
    from commonweal.models.engine.launched import launch, named
    from commonweal.models.engine.local import LocalEngine
    from commonweal.models.engine.options import EngineOptions

    folder = serve_engine.save_llama(tmp_path / "cache")
    model = llama_cpp.write_gguf(folder, tmp_path / "tiny.gguf")
    what = named(f"llama.cpp:{model}", program=str(llama_cpp.server()), threads=1)
    assert what is not None
    request = Request(model="tiny", prompt="The sky is blue", max_tokens=24, logprobs=1)

    async def use(engine: Any) -> Any:
        try:
            loaded = await engine.load("tiny", "tiny" if isinstance(engine, FrontedEngine) else folder)
            return loaded, await collected(engine.stream(request))
        finally:
            await engine.close()

    child = launch(what, log=tmp_path / "log", patience=120)
    try:
        fronted, theirs = asyncio.run(use(FrontedEngine(child.url)))
    finally:
        child.close()
    _, ours = asyncio.run(use(LocalEngine(EngineOptions(threads=1))))
    assert fronted.window == 1024, "what a slot of it reads"
    assert theirs.text == ours.text
    assert theirs.prompt_tokens == ours.prompt_tokens
