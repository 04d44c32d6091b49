"""The pictures of a run are kept beside its tables: each once, before it is sent, and nothing that is none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import bench_of_one as b
import pytest
from test_raster import GIF, JPG, PNG

from commonweal.core.completion import Completion, Image, Request
from commonweal.core.errors import StorageFull
from commonweal.core.hashing import content_hash
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.pictures import Kept, Pictures, read_picture
from commonweal.evals.tables import read_rows

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


def seeing(*pictures: bytes) -> b.Planned:
    """A scenario that asks about each picture twice."""

    def read(loader: object, args: object) -> Iterable[Instance]:
        for number, data in enumerate(data for data in pictures for _ in range(2)):
            yield Instance(
                id=f"id{number}",
                input=f"{number} + {number} = ",
                references=(Reference(text=str(2 * number), correct=True),),
                images=(Image(data=data),),
            )

    return b.planned(b.scenario(read))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def test_each_picture_is_kept_once_by_its_hash_and_as_what_it_is(tmp_path: Path) -> None:
    done = b.run(seeing(PNG, GIF, JPG, PNG), tmp_path, b.bench())
    kept = {f"{content_hash(data)}.{end}": data for data, end in ((PNG, "png"), (GIF, "gif"), (JPG, "jpg"))}
    assert files(tmp_path) == kept, "all of them were said to be image/png"
    assert done.run["pictures"] == {
        "wanted": True,
        "kept": 3,
        "left_out": 0,
        "bytes": sum(map(len, kept.values())),
    }
    named = {name for row in read_rows(tmp_path, "instances") for name in row["images"]}
    assert {name.partition(" ")[2] for name in named} == {name.partition(".")[0] for name in kept}
    found = read_picture(tmp_path, content_hash(GIF))
    assert isinstance(found, Kept)
    assert (found.data, found.raster.media_type) == (GIF, "image/gif")


def test_a_run_without_pictures_has_no_folder_of_them(tmp_path: Path) -> None:
    done = b.run(b.planned(b.scenario(b.sums(3))), tmp_path, b.bench())
    assert done.run["pictures"] is None
    assert not (tmp_path / "images").exists()


def test_an_svg_is_never_kept_and_the_folder_says_why(tmp_path: Path) -> None:
    done = b.run(seeing(SVG, PNG), tmp_path, b.bench())
    assert files(tmp_path) == {
        f"{content_hash(SVG)}.txt": b"it is neither PNG, JPEG, GIF nor WebP\n",
        f"{content_hash(PNG)}.png": PNG,
    }
    assert (done.run["pictures"]["kept"], done.run["pictures"]["left_out"]) == (1, 1)
    assert done.run["coverage"]["scored"] == 4, "it was sent all the same"
    assert read_picture(tmp_path, content_hash(SVG)) == (
        "it was not kept: it is neither PNG, JPEG, GIF nor WebP"
    )


def test_pictures_may_be_left_out(tmp_path: Path) -> None:
    done = b.run(seeing(PNG, GIF), tmp_path, b.bench(pictures=False))
    assert not (tmp_path / "images").exists()
    assert done.run["pictures"] == {"wanted": False, "kept": 0, "left_out": 2, "bytes": 0}
    with_them = b.run(seeing(PNG, GIF), tmp_path / "kept", b.bench())
    assert with_them.run["hash"] == done.run["hash"], "the same is asked"


def test_a_picture_lies_there_before_it_is_sent(tmp_path: Path) -> None:
    class Looking(MockCompleter):
        async def complete(self, request: Request) -> Completion:
            assert request.prompt is not None
            data = (PNG, GIF)[int(request.prompt.split()[0]) // 2]
            assert isinstance(read_picture(tmp_path, content_hash(data)), Kept)
            return await super().complete(request)

    done = b.run(seeing(PNG, GIF), tmp_path, b.bench(Looking(b.adds)))
    assert done.run["coverage"]["scored"] == 4


def test_a_resumed_run_has_the_pictures_of_what_was_asked_before_too(tmp_path: Path) -> None:
    b.run(seeing(PNG, SVG, GIF), tmp_path, b.bench(limits=b.Limits(tokens=8), concurrency=1))
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "budget"
    for path in (tmp_path / "images").iterdir():
        path.unlink()  # as a run that was begun before pictures were kept
    (tmp_path / "images" / f"{content_hash(GIF)}.png").write_bytes(b"torn")
    model = b.Counting(b.adds)
    done = b.run(seeing(PNG, SVG, GIF), tmp_path, b.bench(model))
    assert 0 < len(model.prompts) < 6
    assert isinstance(read_picture(tmp_path, content_hash(PNG)), Kept)
    assert (done.run["pictures"]["kept"], done.run["pictures"]["left_out"]) == (2, 1)


def test_all_pictures_of_a_run_have_a_bound(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, most=len(PNG) + len(GIF))
    pictures.keep([Image(data=PNG), Image(data=JPG), Image(data=GIF)])
    told = pictures.to_json()
    assert told is not None
    assert (told["kept"], told["left_out"]) == (2, 1)
    assert "more than" in str(read_picture(tmp_path, content_hash(JPG)))


def test_what_is_damaged_or_exchanged_is_not_given_out(tmp_path: Path) -> None:
    b.run(seeing(PNG), tmp_path, b.bench())
    name = content_hash(PNG)
    path = tmp_path / "images" / f"{name}.png"
    for data in (PNG[:-3], b"<script>alert(1)</script>", SVG, GIF):
        path.write_bytes(data)
        assert "another hash" in str(read_picture(tmp_path, name))
    path.unlink()
    assert read_picture(tmp_path, name) == ""
    for hostile in ("../run", "..", "", name[:-1], name.upper(), f"{name}\n"):
        assert read_picture(tmp_path, hostile) == ""
    svg = tmp_path / "images" / f"{content_hash(SVG)}.png"
    svg.write_bytes(SVG)
    assert "neither PNG" in str(read_picture(tmp_path, content_hash(SVG))), "though its hash is right"


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFull):
        b.run(seeing(PNG), tmp_path, b.bench())
    monkeypatch.undo()
    assert b.run(seeing(PNG), tmp_path, b.bench()).run["status"] == "done"
