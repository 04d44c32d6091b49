"""``commonweal improve``: feedback becomes a model's next version, if the next version is better.

Everything goes over the hub's API, as its operator would do it by hand: build the data set, fine-tune on it, score both
versions on the held-out side, evaluate both on guard scenarios, and promote or refuse by the gate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from commonweal import console
from commonweal.commands import evaluating
from commonweal.core.completion import Choice, Request, Token, message_json
from commonweal.core.errors import Unavailable
from commonweal.evals.budget import Limits, Spent
from commonweal.evals.evaluation import Evaluation
from commonweal.evals.metrics import definitions
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import Wishes
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.evals.summary.runs import find_runs
from commonweal.pool.worker.answers import check, reached
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.gate import Change, Decision, GateRules, Measured, Scenario
from commonweal.serve.community.improving import Improved, Steps, improve

_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_LOOK_SECONDS = 1.0
_ORDER = ("dpo", "sft", "kto")
"""Which side of a data set is trained on where it has several: pairs say most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """The flags of ``commonweal improve``. ``guards`` are scenarios that the new version must not be worse at, each
    over ``instances`` instances; runs go to ``runs``."""

    model: str
    guards: tuple[str, ...]
    instances: int
    runs: Path
    fewest: int
    epochs: int | None
    json: bool


def run_improve(
    url: str, key: str, wishes: Improvement, *, transport: httpx.BaseTransport | None = None
) -> Improved:
    """Make, measure, and promote or refuse the next version. Raises UserError where there is too little feedback."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, transport=transport) as http:
        hub = _Hub(http, url, key, wishes)
        rules = GateRules(
            guards=wishes.guards, fewest_held_out=wishes.fewest, fewest_guarded=min(10, wishes.instances)
        )
        say = (lambda line: None) if wishes.json else (lambda line: console.out.print(console.safe(line)))
        made = improve(
            wishes.model,
            Steps(
                build=hub.build,
                read=hub.read,
                train=hub.train,
                score=hub.score,
                guard=hub.guard,
                promote=hub.promote,
                say=say,
            ),
            rules,
        )
    if wishes.json:
        console.print_json(asdict(made))
    elif made.decision.verdict == "promote":
        console.out.print(f"{made.model}:latest is now {console.safe(made.candidate)}")
    else:
        console.out.print(f"{made.model} stays; the candidate is kept as {console.safe(made.candidate)}")
    return made


class _Hub:
    """The steps, over HTTP."""

    def __init__(self, http: httpx.Client, url: str, key: str, wishes: Improvement) -> None:
        self._http, self._url, self._key, self._wishes = http, url, key, wishes
        self._dataset: DataSet | None = None

    def build(self) -> DataSet:
        found = self._call("POST", "/v1/community/datasets", {})
        found.pop("object")
        self._dataset = DataSet(**found | {"withdrawn": tuple(found["withdrawn"])})
        return self._dataset

    def read(self, dataset: DataSet, file: str) -> bytes:
        with reached("the hub"):
            response = self._http.get(f"/v1/community/datasets/{dataset.id}/files/{file}")
        check(response)
        return response.content

    def train(self, model: str, dataset: DataSet) -> str:
        """Fine-tune on the side of the data set that says most. Raises Unavailable if the job does not succeed."""
        format = next(form for form in _ORDER if f"{form}.train.jsonl" in dataset.files)
        name = f"{format}.train.jsonl"
        with reached("the hub"):
            response = self._http.post(
                "/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, self.read(dataset, name))}
            )
        check(response)
        kind = {"sft": "supervised"}.get(format, format)
        chosen = {} if self._wishes.epochs is None else {"n_epochs": self._wishes.epochs}
        job = self._call(
            "POST",
            "/v1/fine_tuning/jobs",
            {
                "model": model,
                "training_file": response.json()["id"],
                "suffix": "feedback",
                "method": {"type": kind, kind: {"hyperparameters": chosen}},
                "metadata": {"dataset": dataset.id},
            },
        )
        return self._finished(job)

    def score(self, request: Request) -> Choice:
        messages = [
            {name: one[name] for name in ("role", "content")}
            for one in map(message_json, request.messages or ())
        ]
        body = {"model": request.model, "messages": messages, "continuation": request.continuation}
        found = self._call("POST", "/serve/v1/score", body)
        tokens = tuple(Token(text=one["token"], logprob=one["logprob"]) for one in found["tokens"])
        return Choice(text=request.continuation, tokens=tokens, logprob=found["logprob"])

    def guard(self, current: str, candidate: str) -> Sequence[Scenario]:
        if not self._wishes.guards:
            return ()
        before, after = (self._evaluated(model) for model in (current, candidate))
        compared = compare(find_runs([before.folder]), find_runs([after.folder]))
        return [_scenario(one) for one in compared]

    def promote(self, model: str, candidate: str, decision: Decision) -> None:
        record = {"dataset": self._dataset.id if self._dataset else "", "gate": asdict(decision)}
        self._call("POST", "/serve/v1/promotions", {"name": model, "model": candidate, "record": record})

    def _evaluated(self, model: str) -> Evaluation:
        wishes = Wishes(
            model=f"{self._url}/v1#{model}",
            scenarios=self._wishes.guards,
            max_instances=self._wishes.instances,
        )
        options = evaluating.EvalOptions(
            home=self._wishes.runs,
            out=self._wishes.runs,
            key_of=lambda _: self._key,
            limits=Limits(),
            no_cache=True,
            json=self._wishes.json,
        )
        return evaluating.evaluated(wishes, options, Spent(), time.monotonic())

    def _finished(self, job: Mapping[str, Any]) -> str:
        with console.live_line("fine-tuning", shown=not self._wishes.json) as say:
            while job["status"] not in ("succeeded", "failed", "cancelled"):
                time.sleep(_LOOK_SECONDS)
                job = self._call("GET", f"/v1/fine_tuning/jobs/{job['id']}")
                say(f"fine-tuning: {job['status']}")
        if job["status"] != "succeeded":
            why = (job.get("error") or {}).get("message") or "nobody says why"
            raise Unavailable(f"fine-tuning has {job['status']}: {why}", hint=f"see job {job['id']}")
        return str(job["fine_tuned_model"])

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with reached("the hub"):
            response = self._http.request(method, path, json=body)
        check(response)
        return response.json()


def _scenario(one: Compared) -> Scenario:
    """A paired comparison as the gate wants it."""

    def measured(value: float | None) -> Measured | None:
        return None if value is None else Measured(value=value, low=value, high=value, n=one.shared)

    known = definitions.find(one.metric, DEFINITIONS)
    change = None
    if one.difference is not None:
        change = Change(
            mean=one.difference.mean, low=one.difference.low, high=one.difference.high, n=one.shared
        )
    return Scenario(
        name=one.name,
        metric=one.metric,
        current=measured(one.a),
        candidate=measured(one.b),
        change=change,
        higher_is_better=known is None or known.higher_is_better,
    )
