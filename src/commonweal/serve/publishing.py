"""From files in the store to a served model: all that the catalogue says of it is read from the files themselves.

Who publishes names blobs and gives no numbers: the hub counts parameters in the headers of the safetensors files and
reads the window from the configuration. Only file names that a model in the Hugging Face format has are taken, so
nothing that could be executed on load (pickles, Python) ever reaches a member; a configuration that asks for code of
its own (``auto_map``) is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from commonweal.core.blobs import Blobs
from commonweal.core.errors import DataError, NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.serve.catalogue import ServedModel, identity_of, prices_of

_FILES = re.compile(
    r"config\.json|generation_config\.json|model\.safetensors|model-\d{5}-of-\d{5}\.safetensors"
    r"|model\.safetensors\.index\.json|tokenizer\.json|tokenizer_config\.json|tokenizer\.model|special_tokens_map\.json"
    r"|added_tokens\.json|vocab\.json|vocab\.txt|merges\.txt|chat_template\.jinja|adapter_config\.json"
    r"|adapter_model\.safetensors|README\.md|LICENSE"
)
ADAPTER_CONFIG = "adapter_config.json"
_LARGEST_JSON = 64 * 2**20
_LARGEST_HEADER = 100 * 2**20
_DEFAULT_WINDOW = 2048
_WINDOWS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "context_length")

FindBase = Callable[[str], ServedModel]


def wanted(name: str) -> bool:
    """Whether a file of this name belongs to a model."""
    return _FILES.fullmatch(name) is not None


def examined(
    blobs: Blobs,
    *,
    name: str,
    owner: str,
    files: Mapping[str, BlobHash],
    find_base: FindBase,
    now: float,
    base: str | None = None,
    public: bool = True,
    lineage: Mapping[str, Any] | None = None,
    quantization: str = "none",
) -> ServedModel:
    """The model that these files are, its weights kept as ``quantization`` says (``int8``: another model than the same
    files at ``none``). Raises UserError or DataError with the file at fault, and NotFound for a blob or a base that is
    not there."""
    for file in files:
        if not wanted(file):
            raise UserError(
                f"{file[:120]}: is no file of a model in the Hugging Face format",
                hint="safetensors weights, JSON configuration and tokenizer files; nothing else is taken",
            )
    for file, blob in files.items():
        if not blobs.has(blob):
            raise NotFound(f"{file}: its blob {blob[:12]} is not in the store", hint="upload it first")
    if ADAPTER_CONFIG in files:
        if quantization != "none":
            raise UserError("quantization: an adapter has its base's", hint="publish the base quantized")
        return _adapter(
            blobs, name, owner, files, base=base, find_base=find_base, now=now, public=public, lineage=lineage
        )
    if base is not None:
        raise UserError("base: only adapters have one", hint=f"an adapter has a file {ADAPTER_CONFIG}")
    config = _read_json(blobs, files, "config.json")
    if "auto_map" in config:
        raise UserError(
            "config.json: asks for code of its own (auto_map)", hint="use an architecture of transformers"
        )
    parameters = _parameters(blobs, files, "model")
    price_in, price_out = prices_of(parameters)
    return ServedModel(
        name=name,
        kind="full",
        owner=owner,
        public=public,
        files=dict(files),
        identity=identity_of(files, base=None, quantization=quantization),
        quantization=quantization,
        parameters=parameters,
        window=_window(config),
        price_in=price_in,
        price_out=price_out,
        lineage=dict(lineage or {}),
        created=now,
    )


def fronted(
    name: str, *, owner: str, public: bool, parameters: int, window: int, quantization: str, now: float
) -> ServedModel:
    """A model that stands behind a server of its owner's. There are no files to read, so its name, size and
    quantization are the owner's word; members that front the same are one model, and audits compare their answers."""
    price_in, price_out = prices_of(parameters)
    return ServedModel(
        name=name,
        kind="fronted",
        owner=owner,
        public=public,
        files={},
        identity=identity_of({}, base=f"fronted:{name}", quantization=quantization),
        quantization=quantization,
        parameters=parameters,
        window=window,
        price_in=price_in,
        price_out=price_out,
        created=now,
    )


def _adapter(
    blobs: Blobs,
    name: str,
    owner: str,
    files: Mapping[str, BlobHash],
    *,
    base: str | None,
    find_base: FindBase,
    now: float,
    public: bool,
    lineage: Mapping[str, Any] | None,
) -> ServedModel:
    if base is None:
        raise UserError("base: an adapter needs the served model that it changes", hint="name it with --base")
    below = find_base(base)
    if below.kind == "adapter":
        raise UserError(f"base: '{base}' is an adapter itself", hint=f"name its base, '{below.base}'")
    _read_json(blobs, files, ADAPTER_CONFIG)
    parameters = _parameters(blobs, files, "adapter_model")
    return ServedModel(
        name=name,
        kind="adapter",
        owner=owner,
        public=public,
        base=base,
        files=dict(files),
        identity=identity_of(files, base=below.identity),
        parameters=below.parameters + parameters,
        window=below.window,
        price_in=below.price_in,
        price_out=below.price_out,
        lineage=dict(lineage or {}),
        created=now,
    )


def _read_json(blobs: Blobs, files: Mapping[str, BlobHash], name: str) -> dict[str, Any]:
    if name not in files:
        raise UserError(f"{name}: is missing", hint="give every file of the model's folder")
    if blobs.size(files[name]) > _LARGEST_JSON:
        raise DataError(f"{name}: is larger than {_LARGEST_JSON} bytes")
    try:
        value = json.loads(blobs.get(files[name]))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{name}: is not a JSON object")
    return value


def _parameters(blobs: Blobs, files: Mapping[str, BlobHash], stem: str) -> int:
    weights = [name for name in files if name.startswith(stem) and name.endswith(".safetensors")]
    if not weights:
        raise UserError(f"{stem}.safetensors: is missing", hint="only safetensors weights are served")
    return sum(_count(blobs, files[name], name) for name in weights)


def _count(blobs: Blobs, blob: BlobHash, name: str) -> int:
    """The numbers in a safetensors file, from its header: eight bytes of length, then JSON."""
    size = blobs.size(blob)
    length = int.from_bytes(b"".join(blobs.stream(blob, 0, min(8, size))), "little")
    if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
        raise DataError(f"{name}: is not a safetensors file")
    try:
        header = json.loads(b"".join(blobs.stream(blob, 8, 8 + length)))
        tensors = [entry for key, entry in header.items() if key != "__metadata__"]
        counts = [math.prod(int(n) for n in tensor["shape"]) for tensor in tensors]
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{name}: its safetensors header cannot be read: {error}") from None
    if min(counts, default=0) < 0 or max(ends, default=0) != size - 8 - length:
        raise DataError(f"{name}: its length is not what its header says", hint="upload the whole file")
    return sum(counts)


def _window(config: Mapping[str, Any]) -> int:
    inner = config.get("text_config")
    for settings in (config, inner if isinstance(inner, dict) else {}):
        for key in _WINDOWS:
            value = settings.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
                return value
    return _DEFAULT_WINDOW
