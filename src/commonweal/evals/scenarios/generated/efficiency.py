"""Synthetic efficiency: how the time of an answer depends on the tokens that are read and written (HELM's).

HELM fetches texts that were cut for each tokenizer. Here a prompt is so many common words: about as many tokens for
most tokenizers, and what a server counted stands in every completion. Prompt and output lengths are HELM's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.generated import vocabulary
from commonweal.evals.scenarios.prompting import completion

ARGS = {
    "num_prompt_tokens": ("256", "1", "16", "32", "64", "512", "768", "1024", "1536", "1920"),
    "num_output_tokens": ("16", "1", "2", "4", "8", "32", "64"),
}
INSTANCES = 10


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    words = int(chosen(args, ARGS, "num_prompt_tokens"))
    stream = random.Random(f"efficiency {words} {loader.seed}")
    return numbered(
        Draft(input=" ".join(stream.choices(vocabulary.COMMON, k=words)), references=answer(""))
        for _ in range(INSTANCES)
    )


def vary(adaptation: Adaptation, args: Args) -> Adaptation:
    return replace(adaptation, max_tokens=int(chosen(args, ARGS, "num_output_tokens")))


SYNTHETIC_EFFICIENCY = Scenario(
    name="synthetic_efficiency",
    title="Synthetic efficiency",
    description="Prompts of a given number of words, answered with a given number of tokens: the time is measured.",
    source="generated; Liang et al. 2022, section 4.9",
    licence="Apache-2.0",
    read=read,
    adaptation=completion(max_tokens=16),
    main_metric="inference_runtime",
    metrics=("efficiency",),
    tags=("targeted", "generated", "efficiency"),
    args=ARGS,
    vary=vary,
)
