"""The index: passages of documents in PostgreSQL, searched by their words and ranked by BM25.

Functions that join the caller's transaction. Whose documents may be searched is decided by who calls: a search names
its files. The words of a passage are stems (``to_tsvector`` by the document's language); a passage is a hit if it has
any of the question's, and its rank is Okapi BM25 (Robertson et al. 1994) over the files that are searched.
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

_SEARCH = sa.text("""
    with size as (
        select sum(passages)::float as n, greatest(sum(words)::float / greatest(sum(passages), 1), 1) as mean
        from documents where file = any(:files)
    ), hits as (
        select p.file, p.number, p.words, t.lexeme, cardinality(t.positions) as often
        from document_passages p join documents d using (file) cross join lateral unnest(p.terms) as t
        where p.file = any(:files) and d.language = :language
          and p.terms @@ cast(:any_word as tsquery) and t.lexeme = any(:words)
    ), spread as (
        select lexeme, count(*)::float as passages from hits group by lexeme
    )
    select h.file, h.number,
           sum(ln(1 + (n - passages + 0.5) / (passages + 0.5))
               * often * (:k1 + 1) / (often + :k1 * (1 - :b + :b * h.words / mean))) as score
    from hits h join spread using (lexeme) cross join size
    group by h.file, h.number
    order by score desc, h.file, h.number
    limit :most
""")


def search(connection: sa.Connection, query: str, among: Sequence[str], most: int) -> tuple[Passage, ...]:
    """The best passages of these files for a question, the best first; only such as share a word with it."""
    scores: dict[tuple[str, int], float] = {}
    for language, words in _words(connection, query[:LONGEST_QUERY].replace("\0", " "), among).items():
        found = connection.execute(
            _SEARCH,
            {
                "files": list(among),
                "language": language,
                "words": words,
                "any_word": " | ".join(map(_quoted, words)),
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


def _words(connection: sa.Connection, query: str, among: Sequence[str]) -> Mapping[str, list[str]]:
    """The question's stems, by each language that the files are in; none where all its words are stop words."""
    rows = connection.execute(
        sa.text(
            "select language, tsvector_to_array(to_tsvector(cast(language as regconfig), :query)) as words "
            "from (select distinct language from documents where file = any(:files)) as found"
        ),
        {"query": query, "files": list(among)},
    )
    return {row.language: list(row.words) for row in rows if row.words}


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
