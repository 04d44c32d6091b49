"""What a hub says of the models that it serves, for the pages of a live site: the catalogue's row, the card, the
lineage. Reads, and shows public models alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.core.hashing import BlobHash
from commonweal.labels.lineage import read_lineage
from commonweal.labels.trainings import Trainings
from commonweal.serve import catalogue
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.schema import served_models
from commonweal.web.site.addresses import slug
from commonweal.web.site.card import README, Card, read
from commonweal.web.site.served import Served, served

_CARDS_AT_HAND = 256


class Catalogue:
    """The public models of a hub. Safe to be read by several threads; asks the database each time."""

    def __init__(self, database: Database, blobs: Blobs, trainings: Trainings | None = None) -> None:
        self._database, self._blobs = database, blobs
        self._trainings = trainings if trainings is not None else Trainings()
        self._cards: OrderedDict[BlobHash, Card] = OrderedDict()
        self._lock = Lock()

    def models(self) -> Sequence[ServedModel]:
        """Those that are served, by name."""
        with self._database.transaction() as connection:
            return catalogue.every(connection, "")

    def slugs(self) -> Mapping[str, str]:
        """Their names, by the slug in the address of each."""
        columns = served_models.c
        query = (
            sa.select(columns.name).where(columns.public, columns.retired.is_(None)).order_by(columns.name)
        )
        with self._database.transaction() as connection:
            return {slug(name): name for name in connection.execute(query).scalars()}

    def served(self, name: str) -> Served | None:
        """None for a name that is no public model's."""
        try:
            with self._database.transaction() as connection:
                model = catalogue.find(connection, name, "")
                lineage = read_lineage(connection, name, self._trainings.of)
                latest = catalogue.find(connection, name + catalogue.LATEST, "").name
        except NotFound:
            return None
        return served(model, self._card(model), lineage, latest)

    def _card(self, model: ServedModel) -> Card:
        """A card is content-addressed, so one that was read stays true."""
        blob = model.files.get(README)
        if blob is None:
            return Card()
        with self._lock:
            found = self._cards.get(blob)
        if found is None:
            found = read(self._blobs, model.files)
        with self._lock:
            self._cards[blob] = found
            self._cards.move_to_end(blob)
            while len(self._cards) > _CARDS_AT_HAND:
                self._cards.popitem(last=False)
        return found
