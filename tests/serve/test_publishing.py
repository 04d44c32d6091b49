"""What the catalogue says of a model is read from its files, and files that could be executed are not taken."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import Conflict, DataError, NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.serve import catalogue
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.publishing import examined


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def stored(blobs: Blobs, **contents: bytes) -> dict[str, BlobHash]:
    return {name.replace("__", "."): blobs.put(data) for name, data in contents.items()}


def base_files(blobs: Blobs) -> dict[str, BlobHash]:
    config = json.dumps({"max_position_embeddings": 512}).encode()
    return stored(blobs, config__json=config, model__safetensors=safetensors(a=(10, 20), b=(7,)))


def nobody(name: str) -> ServedModel:
    raise NotFound(f"no model '{name}'")


def examine(blobs: Blobs, files: dict[str, BlobHash], **more: Any) -> ServedModel:
    options: dict[str, Any] = {"name": "tiny", "owner": "user:ada", "find_base": nobody, "now": 1.0}
    return examined(blobs, files=files, **(options | more))


def test_parameters_and_window_come_from_the_files(blobs: Blobs) -> None:
    model = examine(blobs, base_files(blobs))
    assert (model.parameters, model.window, model.kind) == (207, 512, "full")
    assert model.cost(1000, 1000) == model.price_in + model.price_out > 0
    assert model.cost(1, 0) == 1


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_evil.py", "../config.json", "model.pkl"])
def test_files_that_could_be_executed_are_refused(blobs: Blobs, name: str) -> None:
    with pytest.raises(UserError, match="no file of a model"):
        examine(blobs, base_files(blobs) | {name: blobs.put(b"x")})


def test_a_configuration_that_asks_for_code_is_refused(blobs: Blobs) -> None:
    evil = blobs.put(json.dumps({"auto_map": {"AutoModel": "evil.Model"}}).encode())
    with pytest.raises(UserError, match="auto_map"):
        examine(blobs, base_files(blobs) | {"config.json": evil})


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00" * 8, b"\xff" * 100, struct.pack("<Q", 4) + b"[[[[", struct.pack("<Q", 2) + b"{}" + b"x"],
)
def test_damaged_weights_are_named(blobs: Blobs, damage: bytes) -> None:
    with pytest.raises(DataError, match=r"model\.safetensors"):
        examine(blobs, base_files(blobs) | {"model.safetensors": blobs.put(damage)})


def test_a_cut_file_is_noticed(blobs: Blobs) -> None:
    cut = blobs.put(safetensors(a=(10, 20))[:-1])
    with pytest.raises(DataError, match="length"):
        examine(blobs, base_files(blobs) | {"model.safetensors": cut})


def test_a_blob_that_is_not_there_is_named(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match=r"tokenizer\.json"):
        examine(blobs, base_files(blobs) | {"tokenizer.json": BlobHash("0" * 64)})


def test_quantization_makes_another_model(blobs: Blobs) -> None:
    files = base_files(blobs)
    whole, quarter = examine(blobs, files), examine(blobs, files, quantization="int8")
    assert (whole.quantization, quarter.quantization) == ("none", "int8")
    assert whole.identity != quarter.identity
    adapter = stored(blobs, adapter_config__json=b"{}", adapter_model__safetensors=safetensors(lora=(4, 5)))
    beside = [
        examine(blobs, adapter, name="ada", base="tiny", find_base=lambda name, base=base: base)
        for base in (whole, quarter)
    ]
    assert beside[0].identity != beside[1].identity
    with pytest.raises(UserError, match="quantization"):
        examine(blobs, adapter, base="tiny", find_base=lambda name: whole, quantization="int8")


def test_an_adapter_stands_on_its_base(blobs: Blobs) -> None:
    base = examine(blobs, base_files(blobs))
    files = stored(blobs, adapter_config__json=b"{}", adapter_model__safetensors=safetensors(lora=(4, 5)))
    model = examine(blobs, files, name="tiny-ada", base="tiny", find_base=lambda name: base)
    assert (model.kind, model.base, model.window, model.parameters) == ("adapter", "tiny", 512, 227)
    assert model.identity != catalogue.identity_of(files, base=None)
    with pytest.raises(UserError, match="base"):
        examine(blobs, files)
    with pytest.raises(UserError, match="adapter itself"):
        examine(blobs, files, base="tiny-ada", find_base=lambda name: model)


def test_the_catalogue_keeps_names_and_finds_near_ones(blobs: Blobs, database: Database) -> None:
    model = examine(blobs, base_files(blobs))
    other = blobs.put(safetensors(a=(1,)))
    with database.transaction() as connection:
        assert catalogue.publish(connection, model) == model
        assert catalogue.publish(connection, model) == model
        changed = examine(blobs, base_files(blobs) | {"model.safetensors": other})
        with pytest.raises(Conflict):
            catalogue.publish(connection, changed)
        with pytest.raises(NotFound, match="did you mean tiny"):
            catalogue.find(connection, "tinny", "user:ben")
        private = examine(blobs, base_files(blobs), name="secret", public=False)
        catalogue.publish(connection, private)
        assert [m.name for m in catalogue.every(connection, "user:ben")] == ["tiny"]
        with pytest.raises(NotFound):
            catalogue.find(connection, "secret", "user:ben")
        assert set(model.files.values()) <= catalogue.named_blobs(connection)
        with pytest.raises(NotFound, match="not yours"):
            catalogue.retire(connection, "tiny", "user:ben", 2.0)
        catalogue.retire(connection, "tiny", "user:ada", 2.0)
        with pytest.raises(NotFound):
            catalogue.find(connection, "tiny", "user:ada")


def test_the_latest_is_what_was_promoted_last(blobs: Blobs, database: Database) -> None:
    with database.transaction() as connection:
        catalogue.publish(connection, examine(blobs, base_files(blobs)))
        assert catalogue.find(connection, "tiny:latest", "user:ben").name == "tiny"
        catalogue.publish(connection, examine(blobs, base_files(blobs), name="tiny-2", public=False))
        with pytest.raises(UserError, match="private"):
            catalogue.promote(connection, "tiny", "tiny-2", "user:ada", {}, 2.0)
        catalogue.open_to_all(connection, "tiny-2", "user:ada")
        with pytest.raises(NotFound, match="not yours"):
            catalogue.promote(connection, "tiny", "tiny-2", "user:ben", {}, 2.0)
        catalogue.promote(connection, "tiny", "tiny-2", "user:ada", {"why": "better"}, 2.0)
        assert catalogue.find(connection, "tiny:latest", "user:ben").name == "tiny-2"
        assert [v.record["why"] for v in catalogue.versions(connection, "tiny")] == ["better"]
        catalogue.retire(connection, "tiny-2", "user:ada", 3.0)
        assert catalogue.find(connection, "tiny:latest", "user:ben").name == "tiny"


@pytest.mark.parametrize("name", ["", "/x", "a//b", "a/../b", "a b", "x" * 121, "-a", "\u202eabc"])
def test_odd_names_are_refused(blobs: Blobs, database: Database, name: str) -> None:
    with database.transaction() as connection, pytest.raises(UserError, match="name"):
        catalogue.publish(connection, examine(blobs, base_files(blobs), name=name))
