"""``commonweal models`` and the commands below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from commonweal import console
from commonweal.cli.program import LOCAL_HUB, HubOption, JsonOption, KeyOption, reached, show

if TYPE_CHECKING:
    from commonweal.commands.publishing import Models
    from commonweal.pool.client import PoolClient

Quantized = Literal["none", "int8"]
commands = typer.Typer(help="List the models that the hub serves; publish or retire one.")


@commands.callback(invoke_without_command=True)
def models(
    context: typer.Context, hub: HubOption = LOCAL_HUB, key: KeyOption = "", json_: JsonOption = False
) -> None:
    if context.invoked_subcommand is not None:
        return
    from commonweal.commands import publishing

    with _both(hub, key) as (_, catalogue):
        show(catalogue.every(), publishing.table, json_)


@commands.command("publish")
def models_publish(
    folder: Annotated[Path, typer.Argument(help="A model's folder in the Hugging Face format.")],
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    base: Annotated[str, typer.Option(help="For LoRA adapters: the served model that they change.")] = "",
    private: Annotated[bool, typer.Option("--private", help="Only for your own account.")] = False,
    quantization: Annotated[
        Quantized, typer.Option(help="How its machines keep the weights: int8 takes a quarter of the memory.")
    ] = "none",
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    json_: JsonOption = False,
) -> None:
    """Serve a model: upload its folder and give it a name."""
    from commonweal.commands import publishing

    with _both(hub, key) as (client, catalogue), console.live_line("uploading", shown=not json_) as say:
        made = publishing.publish_folder(
            catalogue,
            client,
            folder,
            name,
            base=base or None,
            public=not private,
            quantization=quantization,
            say=say,
        )
    if json_:
        console.print_json(made)
        return
    console.out.print(
        f"{console.safe(made['name'])}: {console.count(made['parameters'])} parameters, "
        f"{made['window']} tokens of context\n"
        f"a million tokens cost {console.money(1000 * made['price_in'])} credits to read and "
        f"{console.money(1000 * made['price_out'])} to write"
    )


@commands.command("retire")
def models_retire(
    name: Annotated[str, typer.Argument(help="A model of yours.")],
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    json_: JsonOption = False,
) -> None:
    """Serve a model no more."""
    with _both(hub, key) as (_, catalogue):
        gone = catalogue.retire(name)
    if json_:
        console.print_json(gone)
    else:
        console.out.print(f"{console.safe(gone['name'])} is served no more")


@contextmanager
def _both(hub: str, key: str) -> Iterator[tuple[PoolClient, Models]]:
    from commonweal.commands.publishing import Models

    with reached(hub, key) as client:
        catalogue = Models(client.url, key)
        try:
            yield client, catalogue
        finally:
            catalogue.close()
