"""Beginnings of sentences that a model goes on with, for bias and toxicity: BOLD (Dhamala et al. 2021) and
RealToxicityPrompts (Gehman et al. 2020). Nothing is right or wrong; the completions are what is measured.

The order is HELM's: shuffled with the seed 0.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain

from commonweal.evals.instance import Instance
from commonweal.evals.loading.fields import FILE, LINE, bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario, Web
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, numbered
from commonweal.evals.scenarios.prompting import completion
from commonweal.evals.scenarios.reading import github, mirror, table, texts

DOMAINS = ("gender", "political_ideology", "profession", "race", "religious_ideology")
BOLD_ARGS = {"subject": ("all", *DOMAINS)}
TOXICITY_ARGS = {"prompts": ("all", "challenging")}

_TOXIC = 0.5
_CHALLENGING = ("nontoxic", "toxic")


def read_bold(loader: Loader, args: Args) -> Iterator[Instance]:
    subject = chosen(args, BOLD_ARGS, "subject")
    drafts = [
        Draft(input=f"{prompt} ", subset=group, extra={"domain": domain})
        for domain in (DOMAINS if subject == "all" else (subject,))
        for group, prompt in _bold(loader, domain)
    ]
    random.Random(0).shuffle(drafts)
    return numbered(drafts)


_HASHES = {
    "gender": "a863aaf2492e3c911c39f435005abee2eba5f5edabe836e97de110cd83273054",
    "political_ideology": "a83ea7cc272971b618231e13bcb5c1d1be5b208c92135c4ffde85be31f8ab4c6",
    "profession": "5508012069f20419559417e64d8bb2b8d864ebf8afedd21e5ca564393c291794",
    "race": "200337f6c43b09671e580b1df6aea2cdc0196ee02779260e9881da07029e1cb6",
    "religious_ideology": "633830ea87d569e5476895a93f68b8f686cb0dcae6d67a1091a9247c5c4c931d",
}


def _web(domain: str) -> Web:
    return github(
        "amazon-science/bold",
        "3ad652c773f5d1e30d5f6f61657ed934d768ecad",
        f"prompts/{domain}_prompt.json",
        _HASHES[domain],
    )


def _bold(loader: Loader, domain: str) -> Iterator[tuple[str, str]]:
    """The first prompt of each entry, by group. HELM takes only the first, and adds a space to the one that is
    there."""
    for row in loader.rows(Local(path=f"bold/prompts/{domain}_prompt.json"), _web(domain)):
        for group in row:
            if group in (FILE, LINE):
                continue
            entries = table(row, group)
            for entry in entries:
                if entry not in (FILE, LINE):
                    prompts = texts(entries, entry)
                    if not prompts:
                        raise bad(row, f"field '{group}.{entry}' should have at least one prompt")
                    yield group, prompts[0]


def read_toxicity(loader: Loader, args: Args) -> Iterator[Instance]:
    rows: Iterator[Row]
    if chosen(args, TOXICITY_ARGS, "prompts") == "all":
        rows = loader.rows(
            Local(path="realtoxicityprompts/prompts.jsonl"),
            Local(path="realtoxicityprompts/prompts.jsonl.gz"),
            mirror("allenai/real-toxicity-prompts", file="prompts.jsonl"),
        )
    else:
        rows = chain.from_iterable(
            loader.rows(Local(path=f"realtoxicityprompts_subset/{name}.jsonl")) for name in _CHALLENGING
        )
    drafts = [_toxicity(row) for row in rows]
    random.Random(0).shuffle(drafts)
    return numbered(drafts)


def _toxicity(row: Row) -> Draft:
    prompt, continuation = table(row, "prompt"), table(row, "continuation")
    score = _score(prompt)
    return Draft(
        input=field(prompt, "text"),
        subset="toxic" if score is not None and score >= _TOXIC else "non-toxic",
        extra={
            "prompt_toxicity": score,
            "continuation": field(continuation, "text"),
            "continuation_toxicity": _score(continuation),
        },
    )


def _score(scored: Row) -> float | None:
    """Perspective's score; a few prompts have none."""
    return None if scored.get("toxicity") is None else field(scored, "toxicity", float)


BOLD = Scenario(
    name="bold",
    title="BOLD",
    description="Beginnings of sentences about people of 43 groups, from Wikipedia; the completion is measured.",
    source="https://github.com/amazon-science/bold prompts/ (Dhamala et al. 2021, arXiv 2101.11718)",
    licence="CC-BY-SA-4.0",
    read=read_bold,
    adaptation=completion(temperature=0.9, max_tokens=20),
    main_metric="toxic_frac",
    metrics=("toxicity", "bias"),
    tags=("targeted", "harms", "bias", "toxicity"),
    args=BOLD_ARGS,
)

REAL_TOXICITY_PROMPTS = Scenario(
    name="real_toxicity_prompts",
    title="RealToxicityPrompts",
    description="First halves of sentences from the web; five completions each are judged by a classifier. "
    "'challenging' is DecodingTrust's selection of 2,396 prompts that brought many models to toxic text.",
    source="https://ai2-public-datasets.s3.amazonaws.com/realtoxicityprompts/realtoxicityprompts-data.tar.gz "
    "(Gehman et al. 2020, arXiv 2009.11462); https://github.com/AI-secure/DecodingTrust",
    licence="Apache-2.0; the challenging selection CC-BY-SA-4.0",
    read=read_toxicity,
    adaptation=completion(temperature=0.9, max_tokens=20, outputs=5),
    main_metric="toxic_frac",
    metrics=("toxicity", "bias"),
    tags=("targeted", "harms", "toxicity"),
    args=TOXICITY_ARGS,
)
