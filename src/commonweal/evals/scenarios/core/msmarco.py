"""MS MARCO passage ranking (Bajaj et al. 2016), regular and TREC 2019 (Craswell et al. 2020): which of the passages
that BM25 found answers a query? HELM asks about each passage by itself.

The files lie below ``msmarco/`` of the data root, under HELM's names, or are downloaded from where HELM has them (3 GB
in all; its docstring, ``scenarios/msmarco_scenario.py``, says who made each):

    passage_document.tsv                                docid, text     8.8 million passages
    passage_train_{queries,qrels,topk}.tsv              qid, text | qid, 0, docid, relevance | qid, docid, rank
    passage_{regular,trec}_{queries,qrels,topk}.tsv     the same for the evaluated queries
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from commonweal.core.errors import ConfigError
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading import field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario, Web
from commonweal.evals.scenarios.helm_adaptations import RANKING, ranking

_SEED = 1885  # HELM's
_EXAMPLES = 1000
_EXAMPLE_RANKS = range(11, 21)  # where an example's wrong passage stands with BM25
_TRAIN_TOPK = 20
_TOPK = range(11, 1001)
_GOLD = {"train": (1,), "regular": (1,), "trec": (2, 3)}
_COLUMNS = {
    "document": ("docid", "text"),
    "queries": ("qid", "text"),
    "qrels": ("qid", "unused", "docid", "relevance"),
    "topk": ("qid", "docid", "rank"),
}

_CODALAB = "https://worksheets.codalab.org/rest/bundles/{}/contents/blob/"
_MICROSOFT = "https://msmarco.blob.core.windows.net/msmarcoranking/{}"
_TREC = "https://trec.nist.gov/data/deep/{}"
_WEB = {
    "document": (_CODALAB.format("0x50d32fc56ad04dd89510bf86f9c1c9d3"), ".tsv"),
    "train_queries": (_MICROSOFT.format("queries.train.tsv"), ".tsv"),
    "train_qrels": (_MICROSOFT.format("qrels.train.tsv"), ".tsv"),
    "train_topk": (_CODALAB.format("0x8c43d4ec02ea48d6a727683a9676b77b"), ".tsv"),
    "regular_queries": (_CODALAB.format("0xf5ccf54707b548f9a4c43502c6f15719"), ".tsv"),
    "regular_qrels": (_MICROSOFT.format("qrels.dev.small.tsv"), ".tsv"),
    "regular_topk": (_CODALAB.format("0xbc3dfacb2b7746809e582ee01fa5fe70"), ".tsv"),
    "trec_queries": (_MICROSOFT.format("msmarco-test2019-queries.tsv.gz"), ".tsv.gz"),
    "trec_qrels": (_TREC.format("2019qrels-pass.txt"), ".ssv"),
    "trec_topk": (_CODALAB.format("0x2e80572f93b748d594b817249013bdac"), ".tsv"),
}
"""Where HELM reads each file, and its form."""

Numbers = Mapping[int, Mapping[int, int]]
"""By query, by passage: its relevance or its rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The queries of one part, in drawn order, with what is known of their passages."""

    split: Split
    queries: Mapping[int, str]
    relevance: Numbers
    ranks: Numbers
    gold: tuple[int, ...]

    def is_gold(self, query: int, passage: int) -> bool:
        return self.relevance[query].get(passage) in self.gold


def read(loader: Loader, args: Args, *, track: str) -> Iterator[Instance]:
    """The examples, then the evaluated queries, in orders that are drawn with HELM's seed. The passages are read
    twice: their order is drawn among all, and the texts are kept of those that are asked about."""
    topk = _topk(args)
    draw = random.Random(_SEED)
    passages = [field(row, "docid", int) for row in _rows(loader, "document")]
    draw.shuffle(passages)
    train = _part(loader, "train", draw, _TRAIN_TOPK, limit=4 * _EXAMPLES)
    asked = _part(loader, track, draw, topk)
    wanted = {query: _example(train, query) for query in list(train.queries)[:_EXAMPLES]}
    evaluated = {query: _candidates(asked, query, topk) for query in asked.queries}
    needed = {passage for part in (wanted, evaluated) for found in part.values() for passage in found}
    order = {passage: place for place, passage in enumerate(passages) if passage in needed}
    texts = _texts(loader, needed)
    for part, found in ((train, wanted), (asked, evaluated)):
        for query, shown in found.items():
            yield _instance(part, query, sorted(shown, key=order.__getitem__), texts)


def _topk(args: Args) -> int | None:
    value = args.get("valid_topk", "")
    if not value:
        return None
    if not value.isdigit() or int(value) not in _TOPK:
        raise ConfigError(
            f"argument 'valid_topk': expected a number from {_TOPK[0]} to {_TOPK[-1]}, got {value!r}",
            hint="leave it out to rank the judged passages alone",
        )
    return int(value)


def _part(
    loader: Loader, name: str, draw: random.Random, topk: int | None, limit: int | None = None
) -> _Part:
    """Queries with a relevant passage, and with ``topk`` candidates where it is given. Of the 800,000 training
    queries the first ``limit`` suffice."""
    gold = _GOLD[name]
    queries = {field(row, "qid", int): field(row, "text") for row in _rows(loader, name, "queries")}
    drawn = list(queries)
    draw.shuffle(drawn)
    relevance = _numbers(_rows(loader, name, "qrels"), "relevance", queries)
    drawn = [query for query in drawn if any(value in gold for value in relevance.get(query, {}).values())][
        :limit
    ]
    ranks = _numbers(_rows(loader, name, "topk"), "rank", set(drawn))
    kept = [query for query in drawn if topk is None or len(ranks.get(query, {})) >= topk]
    return _Part(
        split="train" if name == "train" else "valid",
        queries={query: queries[query] for query in kept},
        relevance=relevance,
        ranks=ranks,
        gold=gold,
    )


def _rows(loader: Loader, *name: str) -> Iterator[Row]:
    file, columns = "_".join(name), _COLUMNS[name[-1]]
    url, suffix = _WEB[file]
    return loader.rows(
        Local(path=f"msmarco/passage_{file}.tsv", columns=columns),
        Web(url=url, name=f"passage_{file}{suffix}", columns=columns),
    )


def _numbers(rows: Iterable[Row], name: str, queries: Collection[int]) -> Numbers:
    made: dict[int, dict[int, int]] = {}
    for row in rows:
        query = field(row, "qid", int)
        if query in queries:
            made.setdefault(query, {})[field(row, "docid", int)] = field(row, name, int)
    return made


def _example(part: _Part, query: int) -> Sequence[int]:
    """The most relevant passage, and the best-ranked wrong one that is not among BM25's first ten."""
    judged = part.relevance[query]
    right = max(judged, key=judged.__getitem__)
    wrong = next(
        (p for p, rank in part.ranks[query].items() if rank in _EXAMPLE_RANKS and not part.is_gold(query, p)),
        None,
    )
    return (right,) if wrong is None else (right, wrong)


def _candidates(part: _Part, query: int, topk: int | None) -> Collection[int]:
    """Every judged passage, and BM25's first ``topk``."""
    found = [p for p, rank in part.ranks.get(query, {}).items() if rank <= topk] if topk is not None else []
    return dict.fromkeys([*part.relevance[query], *found])


def _texts(loader: Loader, needed: Collection[int]) -> Mapping[int, str]:
    rows = ((field(row, "docid", int), row) for row in _rows(loader, "document"))
    return {passage: field(row, "text") for passage, row in rows if passage in needed}


def _instance(part: _Part, query: int, passages: Sequence[int], texts: Mapping[int, str]) -> Instance:
    """``extra["ranks"]`` is where BM25 put each passage, 0 where it did not find it."""
    references = tuple(
        Reference(
            text=texts[passage],
            correct=part.is_gold(query, passage),
            grade=part.relevance[query].get(passage, 0),
        )
        for passage in passages
    )
    ranks = part.ranks.get(query, {})
    return Instance(
        id=f"{part.split}-{query}",
        input=part.queries[query],
        references=references,
        split=part.split,
        extra={"docids": list(passages), "ranks": [ranks.get(passage, 0) for passage in passages]},
    )


def _scenario(track: str, title: str, main_metric: str, source: str) -> Scenario:
    return Scenario(
        name=f"msmarco_{track}",
        title=title,
        description="Which passages answer a query of a search engine? Ranked by the model's yes or no to each.",
        source=source,
        licence="non-commercial research (MS MARCO terms)",
        read=partial(read, track=track),
        adaptation=ranking(),
        main_metric=main_metric,
        metrics=RANKING,
        tags=("core", "information_retrieval", "ranking"),
        args={"valid_topk": ()},
        needs=("logprobs",),
    )


MSMARCO_REGULAR = _scenario(
    "regular", "MS MARCO (regular)", "rr_10", "Bajaj et al. 2016, https://arxiv.org/abs/1611.09268"
)
MSMARCO_TREC = _scenario(
    "trec", "MS MARCO (TREC)", "ndcg_10", "Craswell et al. 2020, https://arxiv.org/abs/2003.07820"
)
