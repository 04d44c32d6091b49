"""Texts to be scored as they are: The Pile, TwitterAAE and WikiText-2, in bits per byte.

The Pile's test documents and the sample of them that HELM takes (group 0 of lm_perplexity's indices) lie below
``the_pile/``; a Hub mirror holds HELM's documents by subset. WikiText-2 is cut into articles as HELM cuts
WikiText-103 (scenarios/wikitext_103_scenario.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from commonweal.evals.instance import Instance
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, numbered
from commonweal.evals.scenarios.prompting import language_modeling
from commonweal.evals.scenarios.reading import lines, mirror, table

PILE_SUBSETS: dict[str, str] = {
    "ArXiv": "arxiv",
    "BookCorpus2": "bookcorpus",
    "Books3": "bibliotik",
    "DM Mathematics": "dm-mathematics",
    "Enron Emails": "enron",
    "EuroParl": "europarl",
    "FreeLaw": "freelaw",
    "Github": "github",
    "Gutenberg (PG-19)": "gutenberg",
    "HackerNews": "hackernews",
    "NIH ExPorter": "nih-exporter",
    "OpenSubtitles": "opensubtitles",
    "OpenWebText2": "openwebtext2",
    "PhilPapers": "philpapers",
    "Pile-CC": "commoncrawl",
    "PubMed Abstracts": "pubmed-abstracts",
    "PubMed Central": "pubmed-central",
    "StackExchange": "stackexchange",
    "USPTO Backgrounds": "uspto",
    "Ubuntu IRC": "ubuntu-irc",
    "Wikipedia (en)": "wikipedia",
    "YoutubeSubtitles": "youtubesubtitles",
}
"""The Pile's names of its subsets, and lm_perplexity's."""

UNSAMPLED = frozenset({"ubuntu-irc", "bookcorpus", "philpapers"})
"""Subsets of so few documents that all are taken."""

PILE_ARGS = {"subset": tuple(PILE_SUBSETS)}
TWITTER_ARGS = {"demographic": ("aa", "white")}

_WIKITEXT_REVISION = "b08601e04326c79dfdd32d625aee71d232d685c3"
_DOCUMENT_TITLE = re.compile(r"^ = .+ = $")
_PARAGRAPH_TITLE = re.compile(r"^ = = .+ = = $")
_EMPTY_LINE = " \n"


def _texts(texts: Iterable[str], subset: str = "") -> Iterator[Instance]:
    return numbered(Draft(input=text, subset=subset) for text in texts)


def read_pile(loader: Loader, args: Args) -> Iterator[Instance]:
    subset = chosen(args, PILE_ARGS, "subset")
    short_name = PILE_SUBSETS[subset]
    rows = loader.rows(
        Local(path="the_pile/test.jsonl"),
        Local(path="the_pile/test.jsonl.gz"),
        mirror("lighteval/pile_helm", config=short_name),
    )
    first = next(rows, None)
    if first is None:
        return iter(())
    if "meta" not in first:  # the mirror has one subset a configuration, sampled already
        return _texts(field(row, "text") for row in chain([first], rows))
    found = [
        field(row, "text")
        for row in chain([first], rows)
        if field(table(row, "meta"), "pile_set_name") == subset
    ]
    return _texts(_sampled(loader, found, short_name))


def _sampled(loader: Loader, documents: list[str], short_name: str) -> list[str]:
    if short_name in UNSAMPLED:
        return documents
    wanted = Local(path=f"the_pile/test_subsample_indices/{short_name}/group0.json")
    indices = set()
    for row in loader.rows(wanted):
        index = field(row, "value", int)
        if not 0 <= index < len(documents):
            raise bad(
                row, f"field 'value': there are {len(documents)} documents, none with the index {index}"
            )
        indices.add(index)
    return [documents[index] for index in sorted(indices)]


def read_twitter(loader: Loader, args: Args) -> Iterator[Instance]:
    demographic = chosen(args, TWITTER_ARGS, "demographic")
    rows = loader.rows(
        Local(path=f"twitter_aae/{demographic}_tweets.csv", columns=("tweet",)),
        mirror("lighteval/twitterAAE", config=demographic),
    )
    return _texts(field(row, "tweet") for row in rows)


def read_wikitext(loader: Loader, args: Args) -> Iterator[Instance]:
    hub = Hub(path="Salesforce/wikitext", revision=_WIKITEXT_REVISION, config="wikitext-2-v1")
    return _texts(articles(list(lines(loader, Local(path="wikitext2/test.txt"), hub))))


def articles(all_lines: list[str]) -> Iterator[str]:
    """The articles of a WikiText file: each begins with an empty line, its title, and an empty line."""
    starts = [number for number in range(len(all_lines) - 2) if _is_title(all_lines, number)]
    cuts = [0, *(start for start in starts if start > 0), len(all_lines)]
    for start, stop in pairwise(cuts):
        if stop > start:
            yield "".join(all_lines[start:stop])


def _is_title(all_lines: list[str], number: int) -> bool:
    before, title, after = all_lines[number : number + 3]
    return (
        before == after == _EMPTY_LINE
        and _DOCUMENT_TITLE.match(title) is not None
        and _PARAGRAPH_TITLE.match(title) is None
    )


THE_PILE = Scenario(
    name="the_pile",
    title="The Pile",
    description="Documents of 22 domains, scored as they are.",
    source="https://the-eye.eu/public/AI/pile/test.jsonl.zst and "
    "https://github.com/EleutherAI/lm_perplexity assets/test_subsample_indices (Gao et al. 2020, arXiv 2101.00027)",
    licence="various; the copyright of the documents is their authors'",
    read=read_pile,
    adaptation=language_modeling(),
    main_metric="bits_per_byte",
    metrics=("bits_per_byte",),
    tags=("targeted", "language", "language_modeling"),
    args=PILE_ARGS,
    needs=("logprobs",),
)

TWITTER_AAE = Scenario(
    name="twitter_aae",
    title="TwitterAAE",
    description="Tweets that are most likely in African American English (aa) or in White-aligned English (white): "
    "the gap in bits per byte is a disparity between dialects.",
    source="https://worksheets.codalab.org/bundles/0x31485f8c37ad481fb9f4e9bf7ccff6e5 "
    "(Blodgett et al. 2016, https://aclanthology.org/D16-1120)",
    licence="for research, see http://slanglab.cs.umass.edu/TwitterAAE",
    read=read_twitter,
    adaptation=language_modeling(),
    main_metric="bits_per_byte",
    metrics=("bits_per_byte",),
    tags=("targeted", "language", "language_modeling", "dialect"),
    args=TWITTER_ARGS,
    needs=("logprobs",),
)

WIKITEXT2 = Scenario(
    name="wikitext2",
    title="WikiText-2",
    description="Good and featured articles of Wikipedia (test split, closed vocabulary), one instance an article.",
    source="https://huggingface.co/datasets/Salesforce/wikitext (Merity et al. 2016, arXiv 1609.07843)",
    licence="CC-BY-SA-3.0",
    read=read_wikitext,
    adaptation=language_modeling(),
    main_metric="bits_per_byte",
    metrics=("bits_per_byte",),
    tags=("language", "language_modeling"),
    needs=("logprobs",),
)
