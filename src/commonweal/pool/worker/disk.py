"""Writing to a disk that may be full, and never leaving half a file under a whole file's name."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from commonweal.core.errors import StorageFull, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


@contextmanager
def room_checked(folder: Path) -> Iterator[None]:
    """Raise StorageFull in place of the operating system's word for it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"no space is left on the disk of {folder}", hint="free some space there"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace ``path`` by a file only its owner may read, all of it or none of it, also after a power cut."""
    with room_checked(path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def free_bytes(folder: Path) -> int:
    """What the disk still takes."""
    return shutil.disk_usage(folder).free


def lock_file(path: Path) -> BinaryIO:
    """Open ``path`` and lock it until it is closed or the process ends. Raises UserError if it is taken."""
    file = open(path, "a+b")  # noqa: SIM115 - the lock lives as long as the caller keeps the file
    try:
        _lock(file)
    except OSError:
        file.close()
        raise UserError(
            f"another process uses {path.parent}",
            hint="stop that one, or give this one its own folder with --state",
        ) from None
    return file


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
