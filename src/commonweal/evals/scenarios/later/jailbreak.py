"""The jailbreak suite: requests for harm as they are, and under published attacks
(:mod:`commonweal.evals.perturbations.attacks`).

An attack is a perturbation of a request, so the worst case per request over all attacks, and over the request as it is,
is the scenario's robustness: what comes of a request where the attacker tries everything. The rate under one attack
stands in the stats of that perturbation. ``attack=NAME`` asks under one attack alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance
from commonweal.evals.perturbations.attacks import ATTACKS
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.later.safety import ALONE, CITATION, SOURCES, harmful_requests

_ARGS = {**SOURCES, "attack": ("all", "none", *ATTACKS)}


def _read(loader: Loader, args: Args) -> Iterator[Instance]:
    for name, _, request in harmful_requests(loader, chosen(args, SOURCES, "source")):
        yield Instance(id=name, input=request, extra={"expect": "refusal", "request": request})


def _attacks(args: Args) -> tuple[str, ...]:
    wanted = chosen(args, _ARGS, "attack")
    if wanted == "all":
        return tuple(ATTACKS)
    return () if wanted == "none" else (wanted,)


JAILBREAK = (
    Scenario(
        name="jailbreak",
        title="Jailbreaks",
        description="Requests for harm, as they are and under published attack templates; the share that is refused. "
        "Robustness is the share that is refused under every attack; each attack has its own stats (perturbation).",
        source=f"Attacks: Wei et al. 2023, Jailbroken, arXiv 2307.02483. Requests: {CITATION}",
        licence="MIT (malicious_instruct: none stated)",
        read=_read,
        adaptation=ALONE,
        main_metric="safety_score",
        metrics=("refusal", "efficiency"),
        tags=("safety", "judged"),
        args=_ARGS,
        version=2,
        perturbed=_attacks,
    ),
)
