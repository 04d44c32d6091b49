"""The index: passages of documents in PostgreSQL, searched by their words and ranked by BM25.

Functions that join the caller's transaction. Whose documents may be searched is decided by who calls: a search names
its files. The words of a passage are stems (``to_tsvector`` by the document's language); a passage is a hit if it has
any of the question's, and its rank is Okapi BM25 (Robertson et al. 1994) over the files that are searched. Where the
question's rarest words have hits enough, passages that have only its commonest ones are left out: they would rank last,
and to read them all is what takes long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.serve.files.schema import files
from commonweal.serve.retrieval import cutting
from commonweal.serve.retrieval.cutting import Place
from commonweal.serve.retrieval.schema import documents, passages

K1 = 1.2
B = 0.75
LONGEST_QUERY = 2000
"""Characters of a question that are searched for."""

MOST_WORDS = 64
CANDIDATES = 2000
"""Passages that are ranked, about."""

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """``text`` stands at ``start`` to ``stop`` of the document's text. ``score`` is at least 0, without a top."""

    file: str
    filename: str
    number: int
    start: int
    stop: int
    text: str
    score: float = 0.0


def missing(connection: sa.Connection, among: Sequence[str]) -> tuple[str, ...]:
    """Those of these files that are not in the index, or by other rules than those of now."""
    there = set(
        connection.execute(
            sa.select(documents.c.file).where(
                documents.c.file.in_(among), documents.c.cutting == cutting.VERSION
            )
        ).scalars()
    )
    return tuple(file for file in among if file not in there)


def enter(
    connection: sa.Connection, file: str, text: str, places: Sequence[Place], *, language: str, now: float
) -> None:
    """Put a document into the index, instead of what was there of it. The file's row must be there."""
    connection.execute(sa.delete(documents).where(documents.c.file == file))
    row = {
        "file": file,
        "language": language,
        "passages": len(places),
        "words": 0,
        "size": len(text.encode()),
        "cutting": cutting.VERSION,
        "created": now,
    }
    entered = connection.execute(insert(documents).values(row).on_conflict_do_nothing())
    if not entered.rowcount:  # another process did it meanwhile
        return
    for at in range(0, len(places), _ROWS_AT_ONCE):
        some = places[at : at + _ROWS_AT_ONCE]
        connection.execute(
            _INSERT,
            {
                "file": file,
                "language": language,
                "numbers": [at + offset for offset in range(len(some))],
                "starts": [place.start for place in some],
                "stops": [place.stop for place in some],
                "texts": [text[place.start : place.stop] for place in some],
            },
        )
    words = sa.select(sa.func.coalesce(sa.func.sum(passages.c.words), 0)).where(passages.c.file == file)
    connection.execute(
        sa.update(documents).where(documents.c.file == file).values(words=words.scalar_subquery())
    )


_INSERT = sa.text("""
    insert into document_passages (file, number, start, stop, text, words, terms)
    select :file, number, start, stop, text,
           (select coalesce(sum(cardinality(positions)), 0) from unnest(terms)), terms
    from unnest(cast(:numbers as int[]), cast(:starts as int[]), cast(:stops as int[]), cast(:texts as text[]))
             as given(number, start, stop, text)
         cross join lateral to_tsvector(cast(:language as regconfig), text) as terms
""")

_SPREAD = sa.text("""
    select word, (select count(*) from document_passages p
                  where p.file = any(:files) and p.terms @@ cast(quoted as tsquery)) as passages
    from unnest(cast(:words as text[]), cast(:quoted as text[])) as given(word, quoted)
""")

_SEARCH = sa.text("""
    with size as (
        select sum(passages)::float as n, greatest(sum(words)::float / greatest(sum(passages), 1), 1) as mean
        from documents where file = any(:among)
    ), hits as (
        select p.file, p.number, p.words, t.lexeme, cardinality(t.positions) as often
        from document_passages p cross join lateral unnest(p.terms) as t
        where p.file = any(:files) and p.terms @@ cast(:any_word as tsquery) and t.lexeme = any(:words)
    ), spread as (
        select * from unnest(cast(:words as text[]), cast(:passages as float[])) as given(lexeme, passages)
    )
    select h.file, h.number,
           sum(ln(1 + (n - passages + 0.5) / (passages + 0.5))
               * often * (:k1 + 1) / (often + :k1 * (1 - :b + :b * h.words / mean))) as score
    from hits h join spread using (lexeme) cross join size
    group by h.file, h.number
    order by score desc, h.file, h.number
    limit :most
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is searched for in the files of one language: stems, and in how many passages each is, the rarest first."""

    files: list[str]
    spread: dict[str, int]

    def telling(self) -> list[str]:
        """The rarest words, as many as have candidates enough."""
        chosen: list[str] = []
        candidates = 0
        for word, often in self.spread.items():
            if candidates >= CANDIDATES:
                break
            chosen.append(word)
            candidates += often
        return chosen


def search(connection: sa.Connection, query: str, among: Sequence[str], most: int) -> tuple[Passage, ...]:
    """The best passages of these files for a question, the best first; only such as share a word with it."""
    scores: dict[tuple[str, int], float] = {}
    for asked in _asked(connection, query[:LONGEST_QUERY].replace("\0", " "), among):
        found = connection.execute(
            _SEARCH,
            {
                "among": list(among),
                "files": asked.files,
                "words": list(asked.spread),
                "passages": list(asked.spread.values()),
                "any_word": " | ".join(map(_quoted, asked.telling())),
                "k1": K1,
                "b": B,
                "most": most,
            },
        )
        scores.update({(row.file, row.number): float(row.score) for row in found})
    best = sorted(scores, key=lambda key: (-scores[key], key))[:most]
    return tuple(_read(connection, best, scores))


def beginnings(connection: sa.Connection, among: Sequence[str], most: int) -> tuple[Passage, ...]:
    """The first passages of these files, for a question that shares no word with any ('sum it up')."""
    found = connection.execute(
        sa.select(passages.c.file, passages.c.number)
        .where(passages.c.file.in_(among))
        .order_by(passages.c.number, passages.c.file)
        .limit(most)
    )
    return tuple(_read(connection, sorted((row.file, row.number) for row in found), {}))


def whole(connection: sa.Connection, file: str) -> tuple[Passage, ...]:
    """All passages of a document, in order."""
    found = connection.execute(sa.select(passages.c.number).where(passages.c.file == file))
    return tuple(_read(connection, [(file, number) for number in sorted(found.scalars())], {}))


def sizes(connection: sa.Connection, among: Sequence[str]) -> Mapping[str, int]:
    """Bytes of text by file, of those that are in the index."""
    rows = connection.execute(
        sa.select(documents.c.file, documents.c.size).where(documents.c.file.in_(among))
    )
    return {row.file: row.size for row in rows}


def _asked(connection: sa.Connection, query: str, among: Sequence[str]) -> list[_Asked]:
    """The question in each language that the files are in; none where all its words are stop words or are nowhere."""
    rows = connection.execute(
        sa.text(
            "select language, files, tsvector_to_array(to_tsvector(cast(language as regconfig), :query)) as words "
            "from (select language, array_agg(file) as files from documents where file = any(:among) "
            "group by language) as found"
        ),
        {"query": query, "among": list(among)},
    ).all()
    asked: list[_Asked] = []
    for row in rows:
        words = list(row.words)[:MOST_WORDS]
        counted = connection.execute(
            _SPREAD, {"files": row.files, "words": words, "quoted": [_quoted(word) for word in words]}
        )
        spread = {found.word: found.passages for found in counted if found.passages}
        if spread:
            rarest_first = dict(sorted(spread.items(), key=lambda item: (item[1], item[0])))
            asked.append(_Asked(files=row.files, spread=rarest_first))
    return asked


def _quoted(word: str) -> str:
    """A word of a ``tsquery``."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _read(
    connection: sa.Connection, keys: Sequence[tuple[str, int]], scores: Mapping[tuple[str, int], float]
) -> list[Passage]:
    if not keys:
        return []
    columns: tuple[sa.ColumnElement[Any], ...] = (
        passages.c.file,
        files.c.filename,
        passages.c.number,
        passages.c.start,
        passages.c.stop,
        passages.c.text,
    )
    rows = connection.execute(
        sa.select(*columns)
        .join_from(passages, files, files.c.id == passages.c.file)
        .where(sa.tuple_(passages.c.file, passages.c.number).in_(list(keys)))
    )
    found = {
        (row.file, row.number): Passage(
            file=row.file,
            filename=row.filename,
            number=row.number,
            start=row.start,
            stop=row.stop,
            text=row.text,
            score=scores.get((row.file, row.number), 0.0),
        )
        for row in rows
    }
    return [found[key] for key in keys if key in found]
