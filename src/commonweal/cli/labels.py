"""``commonweal label``: what went into a model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from commonweal.cli.program import LOCAL_HUB, HubOption, JsonOption, KeyOption

if TYPE_CHECKING:
    from commonweal.commands.labelling import Asked

commands = typer.Typer()
Form = Literal["text", "json", "card", "html"]


@commands.command()
def label(
    model: Annotated[
        str, typer.Argument(help="A model's folder, a label file (JSON or TOML), or a hub's model.")
    ],
    runs: Annotated[
        list[Path] | None, typer.Option(help="A folder with runs to add; may be repeated.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="text, json, card (for the Hugging Face Hub) or html.")
    ] = "text",
    out: Annotated[Path | None, typer.Option(help="The file to write; the terminal if left out.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Prove each fact by its record; exit code 1 if one is wrong.")
    ] = False,
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    json_: JsonOption = False,
) -> None:
    """Show the label of a model: what went into it and what is known of it, each fact with its record."""
    from commonweal.commands import labelling

    asked: AbstractContextManager[Asked | None] = nullcontext()
    if key:
        asked = labelling.asked(hub, key)
    with asked as there:
        if check:
            labelling.prove(model, runs or [], there, as_json=json_)
        else:
            labelling.show(model, runs or [], there, "json" if json_ else form, out)
