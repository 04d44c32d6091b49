"""Summaries of news: CNN/DailyMail (Hermann et al. 2015; See et al. 2017) and XSUM (Narayan et al. 2018).

HELM reads pickled copies; a pickle is never opened here, the same texts come from the hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.helm_adaptations import SUMMARY, summarization

_LONGEST = 512  # words of an article that are shown
_EXAMPLE_WORDS = range(50, 151)  # HELM's lengths of an example
_SPLITS: tuple[tuple[Split, str], ...] = (("train", "train"), ("valid", "validation"), ("test", "test"))
_NO_ARTICLE = ("Media playback is unsupported on your device", "Last updated at")


def read(
    loader: Loader, args: Args, *, folder: str, hub: str, config: str | None, article: str, summary: str
) -> Iterator[Instance]:
    """All three splits; an example is neither short nor long, and of XSUM a real summary of a real article."""
    for split, name in _SPLITS:
        origins = (
            Local(path=f"{folder}/{name}.jsonl"),
            Hub(path=hub, revision="main", config=config, split=name),
        )
        for number, row in enumerate((examples if split == "train" else _rows)(loader, *origins)):
            text = _clean(field(row, article), _LONGEST)
            short = _clean(field(row, summary))
            if split != "train" or _is_example(text, short, strict=folder == "xsum"):
                yield Instance(
                    id=str(row.get("id") or f"{split}-{number}"),
                    input=text,
                    references=answer(short),
                    split=split,
                )


def _rows(loader: Loader, *origins: Local | Hub) -> Iterator[Row]:
    return loader.rows(*origins)


def _clean(text: str, words: int | None = None) -> str:
    """On one line, with single spaces, the first ``words`` words."""
    return " ".join(text.split()[:words])


def _is_example(article: str, summary: str, *, strict: bool) -> bool:
    words, size = len(article.split()), len(summary.split())
    if words not in _EXAMPLE_WORDS:
        return False
    return not strict or (
        size > 10 and size / words <= 0.2 and not any(text in article for text in _NO_ARTICLE)
    )


CNN_DM = Scenario(
    name="summarization_cnndm",
    title="CNN/DailyMail",
    description="A news article in three sentences; the reference is the highlights of its editors.",
    source="Hermann et al. 2015, https://arxiv.org/abs/1506.03340; See et al. 2017",
    licence="Apache-2.0 (the data set); articles: CNN, Daily Mail",
    read=partial(
        read,
        folder="cnn_dailymail",
        hub="abisee/cnn_dailymail",
        config="3.0.0",
        article="article",
        summary="highlights",
    ),
    adaptation=summarization(sentences=3, max_tokens=128),
    main_metric="rouge_2",
    metrics=SUMMARY,
    tags=("core", "summarization"),
)

XSUM = Scenario(
    name="summarization_xsum",
    title="XSUM",
    description="A BBC article in one sentence; the reference is its introduction.",
    source="Narayan et al. 2018, https://aclanthology.org/D18-1206",
    licence="articles: BBC, for research",
    read=partial(
        read, folder="xsum", hub="EdinburghNLP/xsum", config=None, article="document", summary="summary"
    ),
    adaptation=summarization(sentences=1, max_tokens=64),
    main_metric="rouge_2",
    metrics=SUMMARY,
    tags=("core", "summarization"),
)
