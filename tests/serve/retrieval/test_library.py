"""Documents in the index: found, ranked, forgotten, and nobody else's."""

from __future__ import annotations

import math
import threading

import pytest
import sqlalchemy as sa
from document_files import uploaded

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import DataError, NotFound, Unavailable, UserError
from commonweal.serve.files import shelf
from commonweal.serve.retrieval import library as module
from commonweal.serve.retrieval import passages, stores
from commonweal.serve.retrieval.library import Library
from commonweal.serve.retrieval.schema import documents
from commonweal.serve.retrieval.schema import passages as passage_table

BEES = "Bees make honey in summer.\n\n" + "Nothing else is told here. " * 60
TRAINS = "Trains run on rails.\n\nThe night train leaves at nine o'clock, and honey is sold aboard."
DUTCH = "De bijen maken honing in de zomer, en iedereen in het dorp is daar heel erg blij mee."


@pytest.fixture
def library(database: Database, blobs: Blobs) -> Library:
    return Library(database=database, blobs=blobs, clock=ManualClock(1000.0))


@pytest.fixture
def files(database: Database, blobs: Blobs) -> list[str]:
    return [
        uploaded(database, blobs, "ann", "bees.txt", BEES),
        uploaded(database, blobs, "ann", "trains.md", TRAINS),
        uploaded(database, blobs, "ann", "bijen.txt", DUTCH),
    ]


def found(library: Library, query: str, files: list[str], most: int = 5) -> list[tuple[str, str]]:
    return [
        (passage.filename, passage.text[:20])
        for passage in library.passages("ann", query, files=files, most=most)
    ]


def test_the_best_passage_comes_first(library: Library, files: list[str]) -> None:
    assert found(library, "When does the night train leave?", files)[0] == (
        "trains.md",
        "Trains run on rails.",
    )
    assert found(library, "how do bees make honey", files)[0] == ("bees.txt", "Bees make honey in s")
    assert [name for name, _ in found(library, "who is selling honey?", files)] == ["trains.md", "bees.txt"]


def test_words_are_found_by_their_stems_and_language(library: Library, files: list[str]) -> None:
    assert found(library, "summers", files)[0][0] == "bees.txt"
    assert [name for name, _ in found(library, "zomers dorpen", files)] == ["bijen.txt"]


def test_a_passage_is_where_it_says(library: Library, files: list[str]) -> None:
    for passage in library.passages("ann", "told", files=files, most=20):
        assert BEES[passage.start : passage.stop] == passage.text


def test_the_rank_is_bm25(library: Library, database: Database, blobs: Blobs) -> None:
    """Against the formula, on texts whose words are their own stems."""
    texts = ["cat cat dog", "dog", "cat bird bird bird bird bird", "fox"]
    names = [uploaded(database, blobs, "ann", f"{text[:3]}{at}.txt", text) for at, text in enumerate(texts)]
    scores = {
        passage.file: passage.score for passage in library.passages("ann", "cat dog", files=names, most=9)
    }
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)

    def bm25(words: list[str]) -> float:
        total = 0.0
        for word in ("cat", "dog"):
            spread = sum(word in other for other in split)
            often = words.count(word)
            weight = math.log(1 + (len(split) - spread + 0.5) / (spread + 0.5))
            total += weight * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(words) / mean))
        return total

    expected = {name: bm25(words) for name, words in zip(names, split, strict=True) if bm25(words)}
    assert scores == pytest.approx(expected)


def test_where_rare_words_have_hits_enough_common_ones_only_add_to_them(
    library: Library, database: Database, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["cat fox", "cat cat", "cat owl", "cat fox owl"]
    names = [uploaded(database, blobs, "ann", f"{text}.txt", text) for text in texts]
    exact = [(p.filename, p.score) for p in library.passages("ann", "cat fox", files=names, most=9)]
    assert len(exact) == 4
    monkeypatch.setattr(passages, "CANDIDATES", 2)
    pruned = [(p.filename, p.score) for p in library.passages("ann", "cat fox", files=names, most=9)]
    assert pruned == exact[:2]
    assert {name for name, _ in pruned} == {"cat fox.txt", "cat fox owl.txt"}


def test_a_question_that_shares_no_word_gets_the_beginnings(library: Library, files: list[str]) -> None:
    for question in ("Summarise it all!", "the of and", "", "\0'\\ | & ! :* <->"):
        assert {name for name, _ in found(library, question, files)} >= {"bees.txt", "trains.md"}


@pytest.mark.parametrize(
    "word", ["it's", "back\\slash", "a & !b", "'; drop table files; --", "%", "(((", "\U0001f41d"]
)
def test_hostile_questions_are_words(library: Library, files: list[str], word: str) -> None:
    library.passages("ann", word, files=files, most=5)
    assert found(library, f"honey {word}", files)


def test_anothers_file_is_not_found(library: Library, files: list[str]) -> None:
    found(library, "honey", files)  # it is in the index
    for account in ("bob", ""):
        with pytest.raises(NotFound):
            library.passages(account, "honey", files=files, most=5)


def test_a_deleted_file_leaves_nothing(library: Library, files: list[str], database: Database) -> None:
    found(library, "honey", files)
    with database.transaction() as connection:
        for file in files:
            shelf.remove(connection, file, "ann", 1000.0)
        for table in (documents, passage_table):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
    with pytest.raises(NotFound):
        found(library, "honey", files)


def test_a_lost_index_is_made_again(library: Library, files: list[str], database: Database) -> None:
    with database.transaction() as connection:
        store = stores.create(connection, "ann", "s", 1000.0)
    for file in files:
        library.add("ann", store.id, library.file("ann", file), {})
    before = library.search("ann", store.id, ["honey"], 5)
    with database.transaction() as connection:
        connection.execute(sa.delete(documents))
    assert library.search("ann", store.id, ["honey"], 5) == before != ()


def test_indexing_twice_at_once_is_indexing_once(
    library: Library, files: list[str], database: Database
) -> None:
    other = Library(database=database, blobs=library.blobs, clock=library.clock)
    file = library.file("ann", files[0])
    threads = [threading.Thread(target=one.index, args=(file,)) for one in (library, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as connection:
        numbers = [passage.number for passage in passages.whole(connection, files[0])]
        assert passages.missing(connection, [*files]) == tuple(files[1:])
    assert numbers == list(range(len(numbers)))
    assert len(numbers) == 2


def test_a_file_that_cannot_be_read_says_why(library: Library, database: Database, blobs: Blobs) -> None:
    file = uploaded(database, blobs, "ann", "paper.pdf", b"%PDF-1.4")
    with pytest.raises(DataError, match="is a PDF") as caught:
        library.passages("ann", "honey", files=[file], most=5)
    assert "pdftotext" in (caught.value.hint or "")


def test_a_vector_store_is_its_owners(library: Library, files: list[str], database: Database) -> None:
    with database.transaction() as connection:
        store = stores.create(connection, "ann", "notes", 1000.0).id
    library.add("ann", store, library.file("ann", files[0]), {"kind": "bees"})
    with pytest.raises(NotFound):
        library.search("bob", store, ["honey"], 5)
    with pytest.raises(NotFound):
        library.passages("bob", "honey", files=(), vector_stores=[store], most=5)
    with pytest.raises(NotFound), database.transaction() as connection:
        stores.add_file(connection, store, "bob", files[1], {}, None, 1000.0)
    with database.transaction() as connection:
        assert stores.every(connection, "bob", 1000.0, after=None, limit=9, newest_first=True) == ((), False)
        for act in (stores.find, stores.remove, stores.searchable):
            with pytest.raises(NotFound):
                act(connection, store, "bob", 1000.0)
    assert [passage.filename for passage in library.search("ann", store, ["honey"], 5)] == ["bees.txt"]


def test_a_store_expires_after_it_was_last_used(library: Library, database: Database) -> None:
    day = 86_400.0
    with database.transaction() as connection:
        store = stores.create(connection, "ann", "s", 0.0, keep_days=2).id
        stores.searchable(connection, store, "ann", 1.5 * day)
        assert stores.find(connection, store, "ann", 3 * day).expires == 3.5 * day
        assert stores.forget_expired(connection, 3 * day) == 0
        with pytest.raises(NotFound):
            stores.find(connection, store, "ann", 4 * day)
        assert stores.forget_expired(connection, 4 * day) == 1


def test_what_is_deleted_while_it_is_read_is_not_found(
    library: Library, files: list[str], database: Database
) -> None:
    file = library.file("ann", files[0])
    with database.transaction() as connection:
        store = stores.create(connection, "ann", "s", 0.0).id
        shelf.remove(connection, file.id, "ann", 1000.0)
    with pytest.raises(NotFound, match="deleted meanwhile"):
        library.add("ann", store, file, {})


def test_a_search_that_takes_too_long_is_ended(
    library: Library, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found(library, "honey", files)
    monkeypatch.setattr(passages, "_SEARCH", sa.text("select pg_sleep(30), :files"))
    monkeypatch.setattr(module, "LONGEST_SEARCH", 50)
    with pytest.raises(Unavailable, match="timeout"):
        found(library, "honey", files)


def test_an_account_has_so_many_stores(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_STORES", 1)
    with database.transaction() as connection:
        stores.create(connection, "ann", "s", 0.0)
        stores.create(connection, "bob", "s", 0.0)
        with pytest.raises(UserError, match="at most 1 vector stores"):
            stores.create(connection, "ann", "s", 0.0)


def test_a_store_has_room_for_so_many_files(
    library: Library, files: list[str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MOST_FILES", 1)
    with database.transaction() as connection:
        store = stores.create(connection, "ann", "s", 0.0).id
    library.add("ann", store, library.file("ann", files[0]), {})
    with pytest.raises(UserError, match="at most 1 files"):
        library.add("ann", store, library.file("ann", files[1]), {})
