"""Files of accounts, as the shelf has them."""

from __future__ import annotations

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.serve.files import shelf


def uploaded(
    database: Database, blobs: Blobs, owner: str, filename: str, data: bytes | str, now: float = 0.0
) -> str:
    """The id of a file that ``owner`` uploaded."""
    content = data.encode() if isinstance(data, str) else data
    file = shelf.new_file(
        owner=owner,
        filename=filename,
        purpose="user_data",
        size=len(content),
        blob=blobs.put(content),
        now=now,
    )
    with database.transaction() as connection:
        shelf.add(connection, file, most=None)
    return file.id
