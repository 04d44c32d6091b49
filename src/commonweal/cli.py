"""The command line: parses, wires, shows. The environment is read here and nowhere else.

Exit codes: 0 done; 1 the work failed; 2 the request is wrong; 3 refused; 4 something is away; 130 interrupted.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonweal import __version__, console
from commonweal.core.errors import CommonwealError, UserError

if TYPE_CHECKING:
    from commonweal.evals.plan import Wishes
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


def main() -> None:
    """The entry point: errors become a message and an exit code, never a traceback."""
    try:
        code = app(prog_name="commonweal", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)  # typer makes 130 of ctrl-c, and returns it
    except typer.Exit as error:
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except CommonwealError as error:
        console.print_error(error)
        sys.exit(error.exit_code)
    except console.ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        sys.exit(_unexpected(error))


def _unexpected(error: Exception) -> int:
    """What nothing below has words for: a command line that cannot be read, a file that cannot be used, a bug."""
    if error.__class__.__module__.startswith(("click", "typer")):
        error.show()  # type: ignore[attr-defined]
        return 2
    if logging.getLogger().isEnabledFor(logging.INFO):
        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is not None:
        console.print_error(UserError(f"{error.filename}: {error.strerror}"))
        return 2
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "this should not happen; commonweal -v COMMAND shows where it did"
    console.print_error(CommonwealError(f"unexpected {told[:300]}", hint=hint))
    return 1


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


@app.command()
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
    threads: Annotated[int, typer.Option(min=1, help="Threads for scoring contributions.")] = 1,
    fold: Annotated[bool, typer.Option(help="Whether this process also folds rounds.")] = True,
    json_: JsonOption = False,
) -> None:
    """Run a hub: one process with its own database and a folder, or one of many on yours."""
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
            threads=threads,
            fold=fold,
            json=json_,
        )
    )


@app.command()
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
    roles: Annotated[str, typer.Option(help="What to be used for, separated by commas.")] = "train",
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
        device=device,
        max_load=max_load,
        on_battery=on_battery,
        json=json_,
    )
    if service:
        lending.write_service(wishes, [arg for arg in sys.argv[1:] if arg != "--service"])
    else:
        _need_torch("lend this machine for training")
        lending.lend(wishes)


@app.command()
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
    _need_torch("prepare a training job")
    from commonweal.commands import following, training

    settings = training.load(job, out)
    with reached(hub, key) as client:
        view = training.submit(client, settings, work.expanduser(), budget, json=json_)
        if detach:
            training.detached(view, json=json_)
            return
        view = following.watch(client, view.id, json=json_)
        training.finish(client, view, out, json=json_)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """The hub and the key that ``commonweal jobs`` was given; a command below it may name others."""

    hub: str
    key: str

    def client(self, hub: str, key: str) -> AbstractContextManager[PoolClient]:
        return reached(hub or self.hub, key or self.key)


jobs_app = typer.Typer(help="List jobs, and look at, pause, resume, cancel or export one.")
app.add_typer(jobs_app, name="jobs")


@jobs_app.callback(invoke_without_command=True)
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
            _show(client.jobs(status or None), console.jobs_table, json_)


@jobs_app.command("show")
def jobs_show(
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


@jobs_app.command("pause")
def jobs_pause(
    context: typer.Context,
    job: JobArgument,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Lend no more units of a job until it is resumed."""
    with context.obj.client(hub, key) as client:
        _changed(client.pause(job), json_)


@jobs_app.command("resume")
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
        _changed(client.resume(job, round(budget * 1_000_000)), json_)


@jobs_app.command("cancel")
def jobs_cancel(
    context: typer.Context,
    job: JobArgument,
    hub: OtherHub = "",
    key: OtherKey = "",
    json_: JsonOption = False,
) -> None:
    """Stop a job for good; what is left of its budget goes back."""
    with context.obj.client(hub, key) as client:
        _changed(client.cancel(job), json_)


@jobs_app.command("export")
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
    _need_torch("save a model")
    from commonweal.commands import training

    with context.obj.client(hub, key) as client:
        training.export(client, job, out, merge=merge, json=json_)


@app.command()
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


@app.command()
def members(
    hub: HubOption = LOCAL_HUB,
    key: KeyOption = "",
    ban: Annotated[str, typer.Option(help="Give this member no more work.")] = "",
    unban: Annotated[str, typer.Option(help="Give this member work again.")] = "",
    json_: JsonOption = False,
) -> None:
    """The machines of the pool."""
    with reached(hub, key) as client:
        for member in filter(None, (ban, unban)):
            client.ban(member, banned=member == ban)
        _show(client.members(), console.members_table, json_)


@app.command()
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


@app.command()
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


@app.command("eval")
def eval_(
    model: Annotated[
        str, typer.Option(help="A server (http://host/v1#name), a folder, a provider's model, or mock.")
    ] = "",
    suite: Annotated[str, typer.Option(help="A list of scenarios: offline, core, ...")] = "",
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="A scenario, such as mmlu:subject=anatomy, or a file my.toml; repeatable."),
    ] = None,
    max_instances: Annotated[
        int, typer.Option(min=0, help="Ask so many instances of each scenario; 0 for all.")
    ] = 0,
    shots: Annotated[
        int | None, typer.Option(min=0, help="Examples in a prompt; the scenario's own number if left out.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How often to ask, each time with other examples.")
    ] = None,
    perturbations: Annotated[
        str,
        typer.Option(
            help="robustness, fairness, names separated by commas, or none. Left out, a suite has both, a "
            "single scenario none.",
            show_default=False,
        ),
    ] = "",
    data_root: Annotated[
        Path | None, typer.Option(help="A folder of data sets, read in place of downloads.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to make the folder of this evaluation.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="Draws instances, examples and perturbations.")] = 0,
    concurrency: Annotated[
        int, typer.Option(min=0, help="Samples in flight at most; 0 for what suits the model.")
    ] = 0,
    judge: Annotated[str, typer.Option(help="The model that judges, where a scenario needs one.")] = "",
    key_env: Annotated[
        str, typer.Option(help="The environment variable that holds the model's key.", show_default=False)
    ] = "",
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep answers in this file; only those of providers are kept if left out."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no answers.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would take, and ask nothing.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an evaluation: ask only what is missing.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop when this command has spent so many US dollars.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Stop when it has used so many tokens.")
    ] = None,
    max_time: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Give a run up when more than this share of it fails.")
    ] = 0.1,
    price_in: Annotated[
        float | None, typer.Option(min=0, help="US dollars for a million tokens read.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(min=0, help="US dollars for a million tokens written.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Evaluate a language model: accuracy, calibration, robustness, fairness, bias, toxicity, efficiency."""
    from commonweal.commands import evaluating
    from commonweal.evals.budget import Limits, prices_of
    from commonweal.evals.plan import Wishes

    wishes = Wishes(
        model=model,
        suite=suite,
        scenarios=tuple(scenario or ()),
        max_instances=max_instances,
        shots=shots,
        trials=trials,
        perturbations=tuple(filter(None, perturbations.split(","))) if perturbations else None,
        seed=seed,
        judge=judge,
        data_root=str(data_root) if data_root else "",
    )
    _check_asked(wishes, resume)
    options = evaluating.EvalOptions(
        home=DEFAULT_FOLDER.expanduser(),
        out=out,
        resume=resume,
        estimate=estimate,
        limits=Limits(cost=max_cost, tokens=max_tokens, seconds=max_time),
        prices=prices_of(price_in, price_out),
        failure_rate=max_failures,
        concurrency=concurrency,
        cache=cache,
        no_cache=no_cache,
        key_of=lambda text: _model_key(text, key_env),
        json=json_,
    )
    code = evaluating.run_eval(wishes, options)
    if code:
        raise typer.Exit(code)


def _check_asked(wishes: Wishes, resume: Path | None) -> None:
    """What is asked stands on the command line, or in the folder that is resumed, but not in both."""
    if resume is None:
        if not wishes.model:
            raise UserError("no model", hint="give --model URL#name, a folder, or mock")
        if not wishes.suite and not wishes.scenarios:
            raise UserError("nothing to evaluate", hint="give --suite offline, or --scenario NAME")
        return
    given = [f"--{name.replace('_', '-')}" for name in wishes.given() if name != "data_root"]
    if given:
        raise UserError(
            f"--resume asks what was asked before: it goes without {', '.join(given).replace('scenarios', 'scenario')}",
            hint="leave that out, or start a new evaluation without --resume",
        )


def _model_key(model: str, key_env: str) -> str | None:
    """The key for a model: from the variable that the user named, or from its provider's usual one."""
    from commonweal.evals.completers.resolve import key_name

    name = key_env or key_name(model)
    if key_env and not os.environ.get(key_env):
        raise UserError(f"--key-env {key_env}: no such variable is set", hint=f"export {key_env}=...")
    return os.environ.get(name) if name else None


PathsArgument = Annotated[list[Path], typer.Argument(help="Folders with runs, such as runs/.")]


@app.command()
def leaderboard(
    paths: PathsArgument,
    group: Annotated[str, typer.Option(help="A suite, a tag of scenarios, or all.")] = "all",
    export: Annotated[
        Path | None, typer.Option(help="Write its runs to this file too, as Every Eval Ever's JSON lines.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Models beside each other: win rates, coverage, and which differences are more than noise."""
    from commonweal.commands import boards

    boards.show_leaderboard(paths, group, export, as_json=json_)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A folder with runs of one model.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    json_: JsonOption = False,
) -> None:
    """Two evaluations, instance by instance: what differs by how much, and which answers flipped."""
    from commonweal.commands import boards

    boards.show_comparison(a, b, as_json=json_)


@app.command()
def release(
    name: Annotated[str, typer.Argument(help="What to call it, such as 2026-11.")],
    paths: PathsArgument,
    out: Annotated[Path, typer.Option(help="The folder of releases, with their history.")] = Path("releases"),
    json_: JsonOption = False,
) -> None:
    """Freeze runs under a name, and say what changed since the release before, and why."""
    from commonweal.commands import boards

    boards.make_release(name, paths, out, as_json=json_)


@app.command("import-helm")
def import_helm(
    path: Annotated[Path, typer.Argument(help="A folder that helm-run has written.")],
    out: Annotated[Path, typer.Option(help="Where to put the runs.")] = Path("runs"),
    splits: Annotated[
        Path | None,
        typer.Option(help="JSON lines of subject, id, split, where HELM's output has lost the splits."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Make runs of HELM's own output."""
    from commonweal.commands import boards

    boards.import_helm(path, out, splits, as_json=json_)


@app.command()
def demo(
    minutes: Annotated[float, typer.Option(min=0.5, max=600, help="How long to train.")] = 3.0,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo-run"),
) -> None:
    """See it all on one machine: a hub, three members, a model trained, one member killed."""
    _need_torch("run the demo")
    from commonweal.commands.demo import run_demo

    run_demo(minutes=minutes, folder=folder)


def _show(values: Any, render: Callable[[Any], Any], as_json: bool) -> None:
    if as_json:
        console.print_json(values)
    elif values:
        console.out.print(render(values))
    else:
        console.out.print("none")


def _changed(view: wire.JobView, as_json: bool) -> None:
    if as_json:
        console.print_json(view)
    else:
        console.out.print(f"{view.id} is {view.status}")


def _need_torch(what: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise UserError(f"torch is needed to {what}", hint="pip install 'commonweal[torch]'")


if __name__ == "__main__":
    main()
