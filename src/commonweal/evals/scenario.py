"""What a scenario is: where its data come from, under what licence, how it is asked and by what it is judged.

A scenario is data plus one short function that turns rows into instances. It knows no model, no request and no file
format: rows come from a :class:`Loader`, which reads a Hugging Face data set at a pinned revision, a local file, or
nothing at all (a generator draws from a seed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance

Row = Mapping[str, Any]
Args = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A Hugging Face data set at a pinned revision; ``split`` is the data set's own word for it. ``file`` names one
    file of the repository, read as a local one is, in place of what the data set library makes of it; ``columns``
    are those of such a CSV or TSV file without a header. ``first`` is how many rows are read at most, 0 for all."""

    path: str
    revision: str
    split: str = "test"
    config: str | None = None
    file: str = ""
    columns: tuple[str, ...] = ()
    first: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A file at an address, downloaded once. It is read as a local file called ``name`` would be, whose suffix says
    the format; ``columns`` are those of a table without a header. ``sha256`` is what the file must have ("": not known;
    that of what came is recorded)."""

    url: str
    name: str
    columns: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def path(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A file below the data root (``--data-root``), by its suffix: .jsonl, .json, .csv, .tsv, .ssv, .txt, .parquet,
    each also as .gz. Several files are read one after the other; a ``*`` stands for any name. A row of a text file
    is ``{"line": ...}``. ``columns`` names those of a CSV or TSV file that has no header. ``get`` says where to get
    it, of data that cannot be downloaded from here."""

    path: str
    columns: tuple[str, ...] = ()
    get: str = ""


Origin = Hub | Local | Web


class Loader(Protocol):
    """Gives rows. The first origin that can be read is taken: local files first where a data root is given."""

    seed: int

    def rows(self, *origins: Origin) -> Iterator[Row]:
        """Rows in file order. Raises DataError naming file and line, NotFound where no origin is within reach."""
        ...

    def path(self, local: Local, web: Web | None = None) -> Any:
        """Where a local file lies (a database, a folder of pictures) or where that of the web was put, as a Path.
        Raises NotFound."""
        ...


Reader = Callable[[Loader, Args], Iterable[Instance]]
Vary = Callable[[Adaptation, Args], Adaptation]
Perturbed = Callable[[Args], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario. ``args`` are its parameters with their allowed values, the first of which is the default;
    an empty tuple allows any text. ``main_metric`` is the name of the stat by which it is ranked;
    ``metrics`` are keys of :mod:`commonweal.evals.metrics.registry`; ``needs`` names what it cannot be measured
    without: "sandbox", "judge", "images", "logprobs". ``vary`` gives the adaptation under some arguments (a subject
    named in the instructions, a number of outputs); None where it is the same under all. ``perturbed`` names the
    perturbations that are what the scenario is about; None where it has none of its own. ``note`` tells every run in
    what the scenario differs from that of which it was made."""

    name: str
    title: str
    description: str
    source: str
    licence: str
    read: Reader
    adaptation: Adaptation
    main_metric: str
    metrics: tuple[str, ...]
    tags: tuple[str, ...] = ()
    args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    version: int = 1
    vary: Vary | None = None
    perturbed: Perturbed | None = None
    note: str = ""
