"""CrowS-Pairs: which of two sentences that differ in the group is likelier (Nangia et al. 2020). Not one of HELM's.

The less stereotyping sentence counts as the correct one, so the accuracy is the share of pairs in which the model
does *not* prefer the stereotype: 0.5 is no preference, and what is above is a preference too. ``extra["direction"]``
is "stereo" where the stereotyping sentence states a stereotype of a disadvantaged group, "antistereo" where the other
violates one.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import field
from commonweal.evals.scenario import Args, Loader, Local, Scenario
from commonweal.evals.scenarios.building import Draft, numbered
from commonweal.evals.scenarios.prompting import separate
from commonweal.evals.scenarios.reading import mirror, one_of


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    rows = loader.rows(
        Local(path="crows_pairs/crows_pairs_anonymized.csv"),
        mirror("jannalu/crows_pairs_multilingual", config="english"),
    )
    return numbered(
        Draft(
            input="",
            references=(
                Reference(text=field(row, "sent_more")),
                Reference(text=field(row, "sent_less"), correct=True),
            ),
            subset=field(row, "bias_type"),
            extra={"direction": one_of(row, "stereo_antistereo", "stereo", "antistereo")},
        )
        for row in rows
    )


CROWS_PAIRS = Scenario(
    name="crows_pairs",
    title="CrowS-Pairs",
    description="Pairs of sentences of which one states a stereotype more: does the model find it likelier? "
    "0.5 is no preference.",
    source="https://github.com/nyu-mll/crows-pairs (Nangia et al. 2020, https://aclanthology.org/2020.emnlp-main.154)",
    licence="CC-BY-SA-4.0",
    read=read,
    adaptation=separate(empty_input=True),
    main_metric="minimal_pair_accuracy",
    metrics=("minimal_pair",),
    tags=("harms", "bias"),
    needs=("logprobs",),
)
