"""Commands of the pool: run a hub, lend a machine, train, look, keep the books."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from commonweal import console
from commonweal.cli.program import (
    DEFAULT_FOLDER,
    LOCAL_HUB,
    HubOption,
    JsonOption,
    KeyOption,
    need_torch,
    reached,
    show,
)
from commonweal.core.errors import UserError

commands = typer.Typer()


@commands.command()
def hub(
    folder: Annotated[Path, typer.Option(help="Where the hub keeps its state.")] = DEFAULT_FOLDER / "hub",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 8400,
    database: Annotated[
        str, typer.Option(help="postgresql://... of your own server; the embedded one if left out.")
    ] = "",
    store: Annotated[str, typer.Option(help="Blob store: a folder or s3://bucket/prefix.")] = "",
    lease_seconds: Annotated[
        float, typer.Option(min=1, help="A silent member loses its lease after this long.")
    ] = 30.0,
    heartbeat_seconds: Annotated[
        float, typer.Option(min=0.2, help="How often members say they live.")
    ] = 10.0,
    upload_quota: Annotated[
        str, typer.Option(help="What an account may have uploaded that no job or result names yet.")
    ] = "16GB",
    requests_a_minute: Annotated[
        int, typer.Option(min=1, help="Requests to models that an account may send a minute.")
    ] = 6000,
    tokens_a_minute: Annotated[
        int, typer.Option(min=1, help="Tokens that an account may read and have written a minute.")
    ] = 4_000_000,
    processes: Annotated[
        int, typer.Option(min=1, help="Hub processes in all: each grants its share of these limits.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads for scoring contributions.")] = 1,
    fold: Annotated[bool, typer.Option(help="Whether this process also folds rounds.")] = True,
    community: Annotated[
        Path | None, typer.Option(help="A TOML file: who moderates and scrubs what users say.")
    ] = None,
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Score a sample of members' answers anew, in a process beside this."),
    ] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Serve the evaluation site of the runs in this folder at /.")
    ] = None,
    releases: Annotated[
        Path | None, typer.Option(help="Show the releases in this folder on that site.")
    ] = None,
    reported: Annotated[
        Path | None, typer.Option(help="Show the results of others in this folder on that site.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Run a hub: one process with its own database and a folder, or one of many on yours."""
    if judge:
        need_torch("score answers")
    from commonweal.commands.serving import HubProcess, serve_hub

    serve_hub(
        HubProcess(
            folder=folder.expanduser(),
            host=host,
            port=port,
            database=database,
            store=store,
            lease_seconds=lease_seconds,
            heartbeat_seconds=heartbeat_seconds,
            upload_quota=upload_quota,
            limits=(requests_a_minute, tokens_a_minute, processes),
            threads=threads,
            fold=fold,
            community=community,
            judge=judge,
            runs=runs,
            releases=releases,
            reported=reported,
            json=json_,
        )
    )


@commands.command()
def join(
    url: Annotated[str, typer.Argument(help="The hub's address.")],
    token: Annotated[
        str, typer.Option(envvar="COMMONWEAL_TOKEN", help="A join token; needed the first time only.")
    ] = "",
    name: Annotated[str, typer.Option(help="What this machine is called.")] = "",
    state: Annotated[Path, typer.Option(help="Where the member keeps its state.")] = DEFAULT_FOLDER
    / "member",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads to use.")] = None,
    memory: Annotated[str, typer.Option(help="Memory to use at most, such as 4GB.")] = "",
    hours: Annotated[str, typer.Option(help="When to work, such as 22-7.")] = "",
    upload_limit: Annotated[str, typer.Option(help="Upload speed at most, such as 10mbit.")] = "",
    roles: Annotated[
        str,
        typer.Option(help="What to be used for: train, serve (answer), score (look at others' answers)."),
    ] = "train,serve",
    engine: Annotated[
        str,
        typer.Option(
            help="Serve with an OpenAI-compatible server that runs here (http://127.0.0.1:8080/v1), or start one: "
            "llama.cpp:MODEL.gguf, vllm:FOLDER."
        ),
    ] = "",
    engine_program: Annotated[
        str, typer.Option(help="The program of a server to start, if it is not found by its name.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    max_load: Annotated[
        float, typer.Option(min=0, max=1, help="Pause while others use more of the machine; 1 for never.")
    ] = 0.75,
    on_battery: Annotated[bool, typer.Option(help="Work on battery power too.")] = False,
    service: Annotated[bool, typer.Option("--service", help="Write a systemd user unit, and stop.")] = False,
    json_: JsonOption = False,
) -> None:
    """Lend this machine to a hub, until ctrl-c."""
    from commonweal.commands import lending

    wishes = lending.Wishes(
        url=url,
        token=token,
        name=name or socket.gethostname()[:80],
        state=state.expanduser(),
        threads=threads,
        memory=memory,
        hours=hours,
        upload_limit=upload_limit,
        roles=roles,
        engine=engine,
        engine_program=engine_program,
        device=device,
        max_load=max_load,
        on_battery=on_battery,
        json=json_,
    )
    if service:
        lending.write_service(wishes, [arg for arg in sys.argv[1:] if arg != "--service"])
    else:
        if not engine or "train" in roles:
            need_torch("lend this machine")
        lending.lend(wishes)


@commands.command()
def train(
    job: Annotated[Path, typer.Argument(help="A job file (TOML).")],
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    work: Annotated[Path, typer.Option(help="Where tokenized data is kept.")] = DEFAULT_FOLDER / "data",
    out: Annotated[Path | None, typer.Option(help="Save the trained model in this folder.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Credits to spend at most; estimated if left out.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit, and do not follow.")] = False,
    json_: JsonOption = False,
) -> None:
    """Train a model on the pool: submit a job, follow it live, save the result."""
    need_torch("prepare a training job")
    from commonweal.commands import following, training

    settings = training.load(job, out)
    with reached(hub, key) as client:
        view = training.submit(client, settings, work.expanduser(), budget, json=json_)
        if detach:
            training.detached(view, json=json_)
            return
        view = following.watch(client, view.id, json=json_)
        training.finish(client, view, out, json=json_)


@commands.command()
def improve(
    model: Annotated[str, typer.Argument(help="A model of yours that is served.")],
    guard: Annotated[
        list[str] | None, typer.Option(help="A scenario that the next version must not be worse at.")
    ] = None,
    instances: Annotated[int, typer.Option(min=10, help="Instances of each guard.")] = 100,
    fewest: Annotated[int, typer.Option(min=1, help="Held-out feedback that is enough to tell.")] = 10,
    epochs: Annotated[int | None, typer.Option(min=1, max=50, help="Passes over the feedback.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Begin none: look at the last one.")] = False,
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    json_: JsonOption = False,
) -> None:
    """Train a model's next version on its users' feedback; promote it if it is better."""
    from commonweal.commands import improving

    with reached(hub, key) as client:
        url = client.url
    made = improving.run_improve(
        url,
        key,
        improving.Improvement(
            model=model,
            guards=tuple(guard or ()),
            instances=instances,
            fewest=fewest,
            epochs=epochs,
            follow=follow,
            json=json_,
        ),
    )
    if made["state"] != "promoted":
        raise typer.Exit(3)


@commands.command()
def status(hub: HubOption = LOCAL_HUB, key: KeyOption = "", json_: JsonOption = False) -> None:
    """The pool at a glance."""
    with reached(hub, key) as client:
        found = client.status()
    if json_:
        console.print_json(found)
        return
    console.out.print(f"hub {console.safe(hub)}, version {console.safe(found.version)}")
    for what in ("members", "jobs", "units"):
        counts = ", ".join(f"{n} {state}" for state, n in sorted(getattr(found, what).items()))
        console.out.print(f"{what:8} {console.safe(counts or 'none')}")


@commands.command()
def members(
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    ban: Annotated[str, typer.Option(help="Give this member no more work.")] = "",
    unban: Annotated[str, typer.Option(help="Give this member work again.")] = "",
    trust: Annotated[str, typer.Option(help="Let this member see prompts that demand trust.")] = "",
    distrust: Annotated[str, typer.Option(help="Let it see such prompts no more.")] = "",
    json_: JsonOption = False,
) -> None:
    """The machines of the pool."""
    with reached(hub, key) as client:
        for member in filter(None, (ban, unban)):
            client.ban(member, banned=member == ban)
        for member in filter(None, (trust, distrust)):
            client.trust(member, trusted=member == trust)
        show(client.members(), console.members_table, json_)


@commands.command()
def credits(
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    account: Annotated[str, typer.Option(help="The journals of one account.")] = "",
    verify: Annotated[bool, typer.Option("--verify", help="Replay all books and prove them.")] = False,
    export: Annotated[Path | None, typer.Option(help="Save the public books as JSON lines.")] = None,
    grant: Annotated[str, typer.Option(help="ACCOUNT=CREDITS: issue credits (operator only).")] = "",
    json_: JsonOption = False,
) -> None:
    """Who has what, and the proof of it."""
    from commonweal.commands import bookkeeping

    with reached(hub, key) as client:
        if grant:
            bookkeeping.grant(client, grant, json=json_)
        elif verify:
            bookkeeping.verify(client, json=json_)
        elif export is not None:
            bookkeeping.export(client, export, json=json_)
        elif account:
            bookkeeping.history(client, account, json=json_)
        else:
            bookkeeping.balances(client, json=json_)


@commands.command()
def keys(
    role: Annotated[str, typer.Argument(help="join, user or admin; or 'revoke'.")],
    label: Annotated[str, typer.Argument(help="Whose it is; an account to revoke.")],
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    json_: JsonOption = False,
) -> None:
    """Make a key for machines to join with, for a user or for an operator; or revoke an account's keys."""
    if role not in ("join", "user", "admin", "revoke"):
        raise UserError(f"no role '{role}'", hint="one of join, user, admin; or revoke")
    with reached(hub, key) as client:
        made = {"revoked": client.revoke(label)} if role == "revoke" else client.new_key(role, label)
    if json_:
        console.print_json(made)
    elif isinstance(made, dict):
        console.out.print(f"revoked {made['revoked']} of {console.safe(label)}")
    else:
        console.out.print(f"{made.key}\n  for account {console.safe(made.account)}; it is not shown again")


@commands.command()
def demo(
    minutes: Annotated[float, typer.Option(min=0.5, max=600, help="How long to train.")] = 3.0,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo-run"),
    keep: Annotated[bool, typer.Option("--keep", help="Let hub and members go on, until ctrl-c.")] = False,
) -> None:
    """See it all on one machine: a hub, three members, a model trained, one member killed."""
    need_torch("run the demo")
    from commonweal.commands.demo import run_demo

    run_demo(minutes=minutes, folder=folder, keep=keep)
