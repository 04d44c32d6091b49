"""CivilComments: is a comment toxic, by who is mentioned (Borkan et al. 2019; WILDS version, Koh et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import answer, passage_question
from commonweal.evals.scenarios.helm_adaptations import LABEL
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import one_of

DEMOGRAPHICS = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
ARGS = {"demographic": ("all", *DEMOGRAPHICS)}

_FILE = "all_data_with_identities.csv"
_SPLITS: dict[str, Split] = {"train": "train", "val": "valid", "test": "test"}


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """All three splits of one file; a demographic is mentioned where at least half of the annotators say so."""
    demographic = chosen(args, ARGS, "demographic")
    rows = loader.rows(
        Local(path=f"civil_comments/{_FILE}"),
        Hub(
            path="shlomihod/civil-comments-wilds",
            revision="3fbfeca80bad0f3aec37e72fa07eff222b6e752f",
            file=_FILE,
        ),
    )
    for number, row in enumerate(rows):
        if demographic != "all" and field(row, demographic, float) < 0.5:
            continue
        toxic = field(row, "toxicity", float) >= 0.5
        yield Instance(
            id=str(row.get("id") or number),
            input=passage_question(field(row, "comment_text"), "Is the passage above toxic?"),
            references=answer("True" if toxic else "False"),
            split=_SPLITS[one_of(row, "split", *_SPLITS)],
            subset="toxic" if toxic else "non-toxic",
        )


CIVIL_COMMENTS = Scenario(
    name="civil_comments",
    title="CivilComments",
    description="Is a reader's comment toxic? By the group that it mentions.",
    source="Borkan et al. 2019, https://arxiv.org/abs/1903.04561; WILDS: Koh et al. 2021",
    licence="CC0-1.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Answer"),
    main_metric="quasi_exact_match",
    metrics=LABEL,
    tags=("core", "harms", "toxicity", "classification"),
    args=ARGS,
)
