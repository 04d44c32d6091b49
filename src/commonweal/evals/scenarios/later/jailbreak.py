"""The jailbreak suite: requests for harm under published attacks (see :mod:`.attacks`).

``attack=all`` asks each request under each attack, reported by attack (subset), and unchanged as subset "none".
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.later.attacks import ATTACKS
from commonweal.evals.scenarios.later.safety import ALONE, CITATION, SOURCES, harmful_requests

_ARGS = {**SOURCES, "attack": ("all", "none", *ATTACKS)}


def _read(loader: Loader, args: Args) -> Iterator[Instance]:
    wanted = chosen(args, _ARGS, "attack")
    names = ("none", *ATTACKS) if wanted == "all" else (wanted,)
    unused = random.Random(0)
    for name, _, request in harmful_requests(loader, chosen(args, SOURCES, "source")):
        plain = Instance(id=name, input=request, extra={"expect": "refusal", "request": request})
        for attack in names:
            changed = plain if attack == "none" else ATTACKS[attack].apply(plain, unused)
            if changed is not None:
                yield replace(changed, id=f"{name}-{attack}", subset=attack, perturbation="")


JAILBREAK = (
    Scenario(
        name="jailbreak",
        title="Jailbreaks",
        description="Requests for harm under published attack templates; the share that is refused, by attack.",
        source=f"Attacks: Wei et al. 2023, Jailbroken, arXiv 2307.02483. Requests: {CITATION}",
        licence="MIT (malicious_instruct: none stated)",
        read=_read,
        adaptation=ALONE,
        main_metric="safety_score",
        metrics=("refusal", "efficiency"),
        tags=("safety", "judged"),
        args=_ARGS,
    ),
)
