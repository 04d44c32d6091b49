"""``commonweal label``: the label of a model, in the form that is wanted; and whether it holds."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import httpx

from commonweal import console
from commonweal.commands.label_evidence import Evidence, FilesEvidence, HubEvidence
from commonweal.commands.reaching import reached
from commonweal.core.errors import CommonwealError, NotFound, UserError
from commonweal.evals.summary.runs import SavedRun, find_runs
from commonweal.labels.card import card
from commonweal.labels.checking import Verdict, check
from commonweal.labels.facts import Label
from commonweal.labels.folder import LABEL, is_model, read_any
from commonweal.labels.from_toml import named
from commonweal.labels.json_form import dumps, read_label
from commonweal.labels.questions import BY_KEY
from commonweal.labels.runs import with_runs
from commonweal.labels.text import lines
from commonweal.pool.client import PoolClient
from commonweal.web.site.label import standing_alone

Form = Literal["text", "json", "card", "html"]
RENDER: Mapping[Form, Callable[[Label], str]] = {
    "text": lambda label: "".join(f"{console.printable(line)}\n" for line in lines(label)),
    "json": dumps,
    "card": card,
    "html": standing_alone,
}


Asked = tuple[PoolClient, httpx.Client]
"""A hub, and the way to the routes that only labels read."""


@contextmanager
def asked(url: str, key: str) -> Iterator[Asked]:
    """A hub, reached. Raises as :func:`~commonweal.commands.reaching.reached` does."""
    with reached(url, key) as client:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=client.url, headers=headers, timeout=60.0) as http:
            yield client, http


class LabelWrong(CommonwealError):
    """A fact is not what its record says."""

    code = "label_wrong"


def show(model: str, runs: Sequence[Path], asked: Asked | None, form: Form, out: Path | None) -> None:
    """Write the label of a model (a file, a folder or a name) to ``out``, or to the terminal."""
    label, _ = found(model, runs, asked)
    text = RENDER[form](label)
    if out is None:
        for line in text.splitlines():
            console.out.print(line, markup=False, highlight=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = out.with_name(f".{out.name}.{os.getpid()}.new")
        new.write_text(text, encoding="utf-8", errors="replace")
        new.replace(out)
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written: {error.strerror}") from None
    console.out.print(f"wrote {console.safe(out)}")


def prove(model: str, runs: Sequence[Path], asked: Asked | None, *, as_json: bool) -> None:
    """Check each fact of a label against its record. Raises LabelWrong where one is not what its record says."""
    label, evidence = found(model, runs, asked, stored=True)
    verdicts = check(label, evidence.prove, evidence.again())
    if as_json:
        console.print_json({"model": label.model, "facts": [asdict(verdict) for verdict in verdicts]})
    else:
        _tell(label, verdicts)
    wrong = [verdict for verdict in verdicts if verdict.outcome == "wrong"]
    if wrong:
        raise LabelWrong(
            f"the label of {label.model} does not hold: {len(wrong)} of {len(verdicts)} facts are wrong",
            hint="make it again: commonweal label MODEL --format json --out FILE",
        )


def found(
    model: str, runs: Sequence[Path], asked: Asked | None, *, stored: bool = False
) -> tuple[Label, Evidence]:
    """The label of a model and what it can be checked by. ``stored``: a label file, or the one in a folder, as it is.
    Raises NotFound for what is neither a file, a folder, nor a name that the hub or the runs know."""
    saved = find_runs(runs) if runs else []
    path = Path(model)
    if path.exists():
        if path.is_dir() and not is_model(path):
            raise UserError(f"{path}: has no files of a model", hint="give a model's folder, or a label file")
        fresh = _with(read_any(path), saved)
        state = fresh.fact("model.weights").value
        hub = None if asked is None else HubEvidence(*asked, saved, state if isinstance(state, str) else "")
        files = FilesEvidence(path, saved, fresh, hub)
        kept = path / LABEL if path.is_dir() else path
        return (read_label(kept) if stored and kept.suffix == ".json" and kept.exists() else fresh), files
    if asked is not None:
        served = HubEvidence(*asked, saved)
        return _with(served.label(model), saved), served
    if any(run.model == model for run in saved):
        fresh = _with(named(model), saved)
        return fresh, FilesEvidence(None, saved, fresh, None)
    near = difflib.get_close_matches(model, sorted({run.model for run in saved}), n=3, cutoff=0.4)
    hint = "did you mean " + ", ".join(near) + "?" if near else "for a hub's model give --hub and --key"
    raise NotFound(f"{model[:120]}: no such file or folder", hint=hint)


def _with(label: Label, runs: Sequence[SavedRun]) -> Label:
    return with_runs(label, runs) if runs else label


_WORDS = {"holds": "holds", "wrong": "WRONG", "unknown": "cannot be checked"}


def _tell(label: Label, verdicts: Sequence[Verdict]) -> None:
    console.out.print(f"the label of {console.safe(label.model)}, fact by fact:")
    rows = [(_name(verdict.key), _WORDS[verdict.outcome], verdict.why) for verdict in verdicts]
    for name, word, why in rows:
        console.out.print(f"  {console.safe(name[:28]):<28} {word}")
        for line in _wrapped(why):
            console.out.print(f"      [dim]{console.safe(line)}[/]")
    counts = {word: sum(row[1] == word for row in rows) for word in _WORDS.values()}
    untold = sum(fact.status == "not_disclosed" for fact in label.facts)
    console.out.print(
        f"{counts['holds']} hold, {counts['WRONG']} are wrong, {counts['cannot be checked']} cannot be checked "
        f"from here;\n{untold} are not disclosed"
    )


def _name(key: str) -> str:
    if key.startswith("run:"):
        return key
    return f"{key.partition('.')[0]}: {BY_KEY[key].name.lower()}"


def _wrapped(text: str, width: int = 72) -> Iterator[str]:
    words, line = text.split(), ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
        while len(line) > width:
            yield line[:width]
            line = line[width:]
    if line:
        yield line
