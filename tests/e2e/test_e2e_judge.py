"""``commonweal hub --judge``: what a stranger's machine answers is scored anew beside the hub, and nobody else is there
to do it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_pool import HubProcess, MemberProcess, commonweal, place, wait_until

TESTS = Path(__file__).parents[1]
MOST_ASKS = 100
"""One answer in five of a new member's is picked: of so many, one is."""


@pytest.fixture
def judging_hub() -> Iterator[HubProcess]:
    with place() as folder:
        made = HubProcess(folder, flags=("--judge",))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_answers_are_scored_by_the_hubs_own_judge(
    judging_hub: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS / "evals" / "completers"))
    from tiny_models import save_llama

    hub, folder = judging_hub, save_llama(tmp_path / "tiny")
    published = commonweal("models", "publish", str(folder), "tiny", "--json", hub=hub)
    assert published.returncode == 0, published.stderr
    stranger = MemberProcess(hub, "stranger", tmp_path, flags=("--roles", "serve"))
    stranger.start()
    headers = {"Authorization": f"Bearer {hub.keys['admin_key']}"}
    with httpx.Client(base_url=hub.url, headers=headers, timeout=120) as client:

        def live() -> dict[str, Any]:
            found: dict[str, Any] = client.get("/serve/v1/live").json()
            return found

        def workers(judges: bool) -> list[dict[str, Any]]:
            return [each for each in live()["workers"] if each["judges"] == judges]

        wait_until("both are there", lambda: workers(True) and workers(False))
        asked = {"model": "tiny", "prompt": "The sky is", "max_tokens": 8, "temperature": 1.0}
        for number in range(MOST_ASKS):
            answer = client.post("/v1/completions", json={**asked, "seed": number})
            assert answer.status_code == 200, answer.text
            if live()["audits"]["waiting"] or live()["audits"]["match"]:
                break
        wait_until("an answer was found good", lambda: live()["audits"]["match"])
        assert live()["audits"]["mismatch"] == 0
        [judge] = workers(True)
        assert judge["models"] == ["tiny"], "it loaded what had to be scored"

        stranger.stop()
        wait_until("the stranger is gone", lambda: not workers(False))
        assert client.post("/v1/completions", json=asked).status_code == 503, "the judge answers nobody"

    members = json.loads(commonweal("members", "--json", hub=hub).stdout)
    assert {each["name"]: each["trusted"] for each in members} == {"stranger": False, "judge": True}
    if sys.platform == "linux":
        log = hub.folder / "hub" / "judge" / "judge.log"
        assert hub.process is not None
        hub.process.send_signal(signal.SIGTERM)
        hub.process.wait(30)
        assert '"event": "left"' in log.read_text(), "it left with the hub"
