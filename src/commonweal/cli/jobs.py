"""``commonweal jobs`` and the commands below it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonweal import console
from commonweal.cli.program import (
    LOCAL_HUB,
    HubOption,
    JobArgument,
    JsonOption,
    KeyOption,
    OtherHub,
    OtherKey,
    changed,
    need_torch,
    reached,
    show,
)

if TYPE_CHECKING:
    from commonweal.pool.client import PoolClient


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """The hub and the key that ``commonweal jobs`` was given; a command below it may name others."""

    hub: str
    key: str

    def client(self, hub: str, key: str) -> AbstractContextManager[PoolClient]:
        return reached(hub or self.hub, key or self.key)


commands = typer.Typer(help="List jobs, and look at, pause, resume, cancel or export one.")


@commands.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    status: Annotated[str, typer.Option(help="Only jobs that are running, paused, done, ...")] = "",
    json_: JsonOption = False,
) -> None:
    context.obj = _Where(hub=hub, key=key)
    if context.invoked_subcommand is None:
        with reached(hub, key) as client:
            show(client.jobs(status or None), console.jobs_table, json_)


@commands.command("show")
def jobsshow(
    context: typer.Context,
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """The rounds of a job; with --json and --follow, one JSON document a line."""
    from commonweal.commands import following

    with context.obj.client(hub, key) as client:
        if follow:
            following.watch(client, job, json=json_)
        else:
            following.show(client, job, json=json_)


@commands.command("pause")
def jobs_pause(
    context: typer.Context,
    job: JobArgument,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Lend no more units of a job until it is resumed."""
    with context.obj.client(hub, key) as client:
        changed(client.pause(job), json_)


@commands.command("resume")
def jobs_resume(
    context: typer.Context,
    job: JobArgument,
    budget: Annotated[float, typer.Option(min=0, help="Credits to add to its budget.")] = 0,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Go on with a paused job."""
    with context.obj.client(hub, key) as client:
        changed(client.resume(job, round(budget * 1_000_000)), json_)


@commands.command("cancel")
def jobs_cancel(
    context: typer.Context,
    job: JobArgument,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Stop a job for good; what is left of its budget goes back."""
    with context.obj.client(hub, key) as client:
        changed(client.cancel(job), json_)


@commands.command("export")
def jobs_export(
    context: typer.Context,
    job: JobArgument,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    merge: Annotated[bool, typer.Option(help="Add adapters into the weights.")] = False,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Save a job's latest weights as a model in the Hugging Face format."""
    need_torch("save a model")
    from commonweal.commands import training

    with context.obj.client(hub, key) as client:
        training.export(client, job, out, merge=merge, json=json_)
