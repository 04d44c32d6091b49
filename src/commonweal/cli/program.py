"""The program: its name and its own options, and what several commands share. Knows no single command."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonweal import __version__, console
from commonweal.core.errors import UserError

if TYPE_CHECKING:
    from commonweal.pool import wire
    from commonweal.pool.client import PoolClient

app = typer.Typer(
    name="commonweal",
    help="A public cloud for foundation models, made of machines that people already have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_FOLDER = Path("~/.commonweal")

LOCAL_HUB = "http://127.0.0.1:8400"

HubOption = Annotated[str, typer.Option("--hub", envvar="COMMONWEAL_HUB", help="The hub's address.")]
KeyOption = Annotated[
    str, typer.Option("--key", envvar="COMMONWEAL_KEY", show_envvar=True, help="Your key at the hub.")
]
OtherHub = Annotated[str, typer.Option("--hub", help="The hub's address.", show_default=False)]
OtherKey = Annotated[str, typer.Option("--key", help="Your key at the hub.", show_default=False)]
JobArgument = Annotated[str, typer.Argument(help="The job's id, such as job_4mkxtebeycp8p0h3.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def reached(hub: str, key: str) -> AbstractContextManager[PoolClient]:
    """The hub, for as long as a command needs it. What only other commands need is imported by no command."""
    from commonweal.commands import reaching

    return reaching.reached(hub, key)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"commonweal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for noisy in ("alembic", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def show(values: Any, render: Callable[[Any], Any], as_json: bool) -> None:
    if as_json:
        console.print_json(values)
    elif values:
        console.out.print(render(values))
    else:
        console.out.print("none")


def changed(view: wire.JobView, as_json: bool) -> None:
    if as_json:
        console.print_json(view)
    else:
        console.out.print(f"{view.id} is {view.status}")


def need_torch(what: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise UserError(f"torch is needed to {what}", hint="pip install 'commonweal[torch]'")
