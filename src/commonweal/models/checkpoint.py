"""Models on disk in the Hugging Face format, each folder whole or absent.

A full model is config.json, generation_config.json, model.safetensors (in parts when large) and its tokenizer.
A model with adapters is its adapters and the tokenizer, and can be saved merged as a full model as well.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from commonweal.core.errors import StorageFull, Unavailable
from commonweal.models.architecture import quiet

PART_SIZE = "2GB"


def save(
    model: torch.nn.Module, folder: Path, *, tokenizer_dir: Path | None = None, merge: bool = False
) -> None:
    """Write ``model`` (and the tokenizer's files) as ``folder``, replacing it in one step if it exists.

    ``merge`` adds adapters into the weights first. Raises StorageFull when the disk is.
    """
    with _replaced(folder) as tmp, quiet():
        _save_weights(model, tmp, merge=merge)
        for file in sorted(tokenizer_dir.iterdir()) if tokenizer_dir else ():
            if file.is_file() and not (tmp / file.name).exists():
                shutil.copyfile(file, tmp / file.name)


def _save_weights(model: Any, folder: Path, *, merge: bool) -> None:
    if not hasattr(model, "peft_config"):
        model.save_pretrained(str(folder), max_shard_size=PART_SIZE)
        return
    from commonweal.models.adapters import merged, save_adapters

    if merge:
        merged(model).save_pretrained(str(folder), max_shard_size=PART_SIZE)
    else:
        save_adapters(model, folder)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``folder`` when the block ends well and else vanishes."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise _storage_error(error, folder) from error
    try:
        (work / "new").mkdir()
        yield work / "new"
        if folder.exists():
            folder.rename(work / "old")
        (work / "new").rename(folder)
    except OSError as error:
        raise _storage_error(error, folder) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _storage_error(error: OSError, folder: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{folder}: no space left for the model", hint="free some space and try again")
    return Unavailable(f"{folder}: cannot be written: {error.strerror or error}")
