"""An account's documents, as a chat and the routes ask for them: files that are looked into when they are first needed.

The index is made from files, and made again where it is lost or its rules changed; so naming a file is enough. Another
account's file is not found, like one that never was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import DataError, NotFound
from commonweal.serve.files import shelf
from commonweal.serve.files.schema import files as file_rows
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.retrieval import passages, stores
from commonweal.serve.retrieval.cutting import cut
from commonweal.serve.retrieval.language import configuration_of
from commonweal.serve.retrieval.passages import Passage
from commonweal.serve.retrieval.reading import LARGEST, read_document

MOST_FILES = 1000
"""That one search may be among."""

LONGEST_SEARCH = 10_000
"""Milliseconds of a statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Blocks: call it in a thread. One document is read at a time in this process: to cut a large one keeps a processor
    busy for seconds."""

    database: Database
    blobs: Blobs
    clock: Clock
    reading: threading.Lock = field(default_factory=threading.Lock)

    def file(self, account: str, file: str) -> StoredFile:
        """Raises NotFound."""
        with self.database.transaction() as connection:
            return shelf.find(connection, file, account, self.clock.now())

    def passages(
        self, account: str, query: str, *, files: Sequence[str], vector_stores: Sequence[str] = (), most: int
    ) -> tuple[Passage, ...]:
        """The best passages for a question; where none shares a word with it, the beginnings. Raises NotFound, and
        DataError for a named file that cannot be read."""
        with self.database.transaction() as connection:
            of_stores = [
                file
                for store in vector_stores
                for file in stores.searchable(connection, store, account, self.clock.now())
            ]
        for file in files:
            self.index(self.file(account, file))
        among = list(dict.fromkeys([*files, *of_stores]))[:MOST_FILES]
        self._restore(account, of_stores)
        with self._searching() as connection:
            found = passages.search(connection, query, among, most)
            return found or passages.beginnings(connection, among, most)

    def search(
        self, account: str, store: str, queries: Sequence[str], most: int, among: Sequence[str] | None = None
    ) -> tuple[Passage, ...]:
        """The best passages of a vector store for any of the queries. ``among``: these of its files. Raises
        NotFound."""
        with self.database.transaction() as connection:
            files = stores.searchable(connection, store, account, self.clock.now())
        chosen = [file for file in files if among is None or file in among][:MOST_FILES]
        self._restore(account, chosen)
        with self._searching() as connection:
            found = [
                passage for query in queries for passage in passages.search(connection, query, chosen, most)
            ]
        best: dict[tuple[str, int], Passage] = {}
        for passage in sorted(found, key=lambda passage: -passage.score):
            best.setdefault((passage.file, passage.number), passage)
        return tuple(best.values())[:most]

    def index(self, file: StoredFile) -> None:
        """See to it that a file is in the index. Raises DataError for one that cannot be read."""
        with self.database.transaction() as connection:
            if not passages.missing(connection, [file.id]):
                return
        with self.reading:
            text = self._text(file)
            places, language = cut(text), configuration_of(text)
        with self.database.transaction() as connection:
            if self._is_there(connection, file):
                passages.enter(connection, file.id, text, places, language=language, now=self.clock.now())

    def add(
        self, account: str, store: str, file: StoredFile, attributes: dict[str, str | float | bool]
    ) -> None:
        """Put a file into a vector store; one that cannot be read is there with its error. Raises NotFound."""
        error: DataError | None = None
        try:
            self.index(file)
        except DataError as failed:
            error = failed
        try:
            with self.database.transaction() as connection:
                stores.add_file(connection, store, account, file.id, attributes, error, self.clock.now())
        except IntegrityError:
            raise NotFound("the file or the vector store was deleted meanwhile") from None

    @contextmanager
    def _searching(self) -> Iterator[sa.Connection]:
        """A transaction that does not keep the database busy for longer than :data:`LONGEST_SEARCH`: what takes longer
        raises Unavailable."""
        with self.database.transaction() as connection:
            connection.execute(sa.text(f"set local statement_timeout = {LONGEST_SEARCH}"))
            yield connection

    def _text(self, file: StoredFile) -> str:
        if file.size > LARGEST:
            raise DataError(
                f"'{file.filename}' is larger than {LARGEST >> 20} MiB", hint="cut it into several files"
            )
        return read_document(file.filename, self.blobs.get(file.blob))

    def _is_there(self, connection: sa.Connection, file: StoredFile) -> bool:
        """Whether the file was not deleted meanwhile; until the transaction ends it cannot be."""
        lock = sa.select(file_rows.c.id).where(file_rows.c.id == file.id).with_for_update(key_share=True)
        return connection.execute(lock).first() is not None

    def _restore(self, account: str, files: Sequence[str]) -> None:
        """Index again what the index has lost."""
        with self.database.transaction() as connection:
            lost = passages.missing(connection, files)
        for file in lost:
            self.index(self.file(account, file))
