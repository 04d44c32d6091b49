"""Refusal: XSTest (does the model refuse what is harmless?) and requests for harm (does it refuse those?).

The texts of harmful requests are read from the data root and nowhere else: none stands in this code, and nothing here
logs one. The prompt of HELM Safety: the request alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Scenario, Web
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.reading import github

ALONE = Adaptation(
    ask="prefer_chat",
    input_prefix="",
    input_suffix="",
    output_prefix="",
    output_suffix="",
    instance_prefix="",
    shots=0,
    max_tokens=512,
    stop=(),
)
_SOURCES = {
    "harmbench": ("harmbench_test", "Mazeika et al. 2024, HarmBench, arXiv 2402.04249"),
    "advbench": (
        "advbench",
        "Zou et al. 2023, Universal and Transferable Adversarial Attacks, arXiv 2307.15043",
    ),
    "jailbreakbench": ("jailbreakbench", "Chao et al. 2024, JailbreakBench, arXiv 2404.01318"),
    "strongreject": (
        "strongreject",
        "Souly et al. 2024, A StrongREJECT for Empty Jailbreaks, arXiv 2402.10260",
    ),
    "malicious_instruct": (
        "malicious_instruct",
        "Huang et al. 2023, Catastrophic Jailbreak, arXiv 2310.06987",
    ),
    "tdc2023": ("tdc2023", "Trojan Detection Challenge 2023 (LLM edition)"),
}
SOURCES = {"source": tuple(_SOURCES)}
CITATION = "; ".join(citation for _, citation in _SOURCES.values())


_HASHES = {
    "harmbench_test": "606bca20a5212e676840ca928070e0905486df1bcc1f5f0223e7a76d8be62fd5",
    "advbench": "545ba703b4ab982e79a4b232cf05a6f6cf9bd98956cb30a99be36e13475e9820",
    "jailbreakbench": "3a5aefa80c4a35f75a5306303aa8e69801e4ca4584e1f598bd2ddcf3e7fbbcdd",
    "strongreject": "9786304587f3d860ab01d1dd2de4aff721ed7538ce4e2af715cbb74efe2a6f10",
    "malicious_instruct": "a88fb4ab8958e93fc2c525125eb448e55026018748c0ec1388a296738e2fcacc",
    "tdc2023": "4c9804f5fdf2a006477807a0c225ad438d6a693d7fa7c93097f866b8dc2e89b8",
}


def _web(file: str) -> Web:
    return github(
        "andyrdt/refusal_direction",
        "9d852fae1a9121c78b29142de733cb1340770cc3",
        f"dataset/processed/{file}.json",
        _HASHES[file],
    )


def harmful_requests(loader: Loader, source: str) -> Iterator[tuple[str, str, str]]:
    """(id, category, request) of each behaviour of a source."""
    file = _SOURCES[source][0]
    for row in loader.rows(Local(path=f"harmful_behaviours/processed/{file}.json"), _web(file)):
        yield f"{source}-{row['__line__']}", str(row.get("category") or ""), field(row, "instruction")


def _harmful(loader: Loader, args: Args) -> Iterator[Instance]:
    for name, category, request in harmful_requests(loader, chosen(args, SOURCES, "source")):
        yield Instance(
            id=name, input=request, subset=category, extra={"expect": "refusal", "request": request}
        )


def _xstest(loader: Loader, args: Args) -> Iterator[Instance]:
    rows = loader.rows(
        Local(path="xstest/xstest_prompts.csv"),
        Hub(path="walledai/XSTest", revision="f1d713187c61b6ae64e602d74f0b3d812cc2e8e8"),
    )
    for number, row in enumerate(rows, 1):
        label, prompt = field(row, "label"), field(row, "prompt")
        if label not in ("safe", "unsafe"):
            raise bad(row, f"field 'label' should be safe or unsafe, but is {label!r}")
        yield Instance(
            id=str(row.get("id", number)),
            input=prompt,
            subset=label,
            extra={
                "expect": "help" if label == "safe" else "safe_refusal",
                "request": prompt,
                "type": row.get("type", ""),
            },
        )


SAFETY = (
    Scenario(
        name="xstest",
        title="XSTest",
        description="250 harmless requests that sound harmful, and 200 harmful ones beside them: a good model helps "
        "with the first (subset safe) and refuses the second (subset unsafe).",
        source="Röttger et al. 2023, XSTest, arXiv 2308.01263",
        licence="CC-BY-4.0",
        read=_xstest,
        adaptation=ALONE,
        main_metric="safety_score",
        metrics=("refusal", "efficiency"),
        tags=("safety", "judged"),
    ),
    Scenario(
        name="harmful_behaviours",
        title="Requests for harm",
        description="Direct requests for harmful behaviour; the share that is refused.",
        source=CITATION,
        licence="MIT (malicious_instruct: none stated)",
        read=_harmful,
        adaptation=ALONE,
        main_metric="safety_score",
        metrics=("refusal", "efficiency"),
        tags=("safety", "judged"),
        args=SOURCES,
    ),
)
