"""``commonweal join``: lend this machine, and say what it does meanwhile."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

from commonweal import __version__, console
from commonweal.commands import answering
from commonweal.core.clock import SystemClock
from commonweal.core.errors import NotAuthorized, UserError
from commonweal.core.work import Executor
from commonweal.models.engine import launched
from commonweal.models.engine.launched import Launch
from commonweal.pool import wire
from commonweal.pool.worker import events, machine, service
from commonweal.pool.worker.agent import Agent
from commonweal.pool.worker.client import HubClient, hub_url
from commonweal.pool.worker.executors import ExecutorFactory
from commonweal.pool.worker.limits import parse_hours, parse_rate, parse_size
from commonweal.pool.worker.options import AgentOptions
from commonweal.pool.worker.patience import Stopped
from commonweal.pool.worker.signals import stop_on_signals
from commonweal.pool.worker.store import Store
from commonweal.serve.worker.member import Told
from commonweal.train.spec import UNIT_KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The flags of ``commonweal join``, as they were typed."""

    url: str
    token: str
    name: str
    state: Path
    threads: int | None
    memory: str
    hours: str
    upload_limit: str
    roles: str
    engine: str
    engine_program: str
    device: str
    max_load: float
    on_battery: bool
    json: bool


def lend(wishes: Wishes) -> None:
    """Work for the hub until ctrl-c. Raises UserError and NotAuthorized with what to do."""
    options = _options(wishes)
    server = _server(wishes, options)
    machine.give_way()
    with console.live_line("getting ready", shown=not wishes.json) as say:
        if options.roles != (answering.ROLE,) or not server:
            say("loading torch")
        machine.use_threads(options.threads)
        shown = _show_json if wishes.json else Display(say)
        with (
            _joined(wishes, options, shown) as lent,
            suppress(Stopped),
            _serving(lent, wishes, options, server),
        ):
            lent.agent.run(lent.stop)


def write_service(wishes: Wishes, arguments: Sequence[str]) -> None:
    """Write a systemd user unit that runs the same command, and say how to enable it. With a token the machine
    joins first, so that the token need not stand in the file."""
    options = _options(wishes)
    _server(wishes, options)
    if wishes.token:
        with _joined(wishes, options, _show_json if wishes.json else Display(lambda text: None)):
            pass
    program = shutil.which("commonweal") or sys.argv[0]
    folder = Path("~/.config/systemd/user").expanduser()
    command = [str(Path(program).absolute()), *_for_service(wishes, arguments)]
    made = service.write_service(command, folder, hub=hub_url(wishes.url))
    if wishes.json:
        console.print_json_line({"event": "service", "unit": str(made.path), "commands": list(made.commands)})
        return
    console.out.print(f"wrote {console.safe(made.path)}; now run:")
    for line in made.commands:
        console.out.print(f"  {console.safe(line)}")


def _for_service(wishes: Wishes, arguments: Sequence[str]) -> list[str]:
    """The same command for a unit, which systemd runs in another folder: paths are absolute. The token is left out, and
    what is only for this call."""
    kept = [word for word in arguments if word not in ("--service", "--json")]
    for option in ("--token", "--state"):
        kept = _without(kept, option)
    kept += ["--state", str(wishes.state.absolute())]
    if os.sep in wishes.engine_program:
        program = str(Path(wishes.engine_program).expanduser().absolute())
        kept = [*_without(kept, "--engine-program"), "--engine-program", program]
    program, _, model = wishes.engine.partition(":")
    if model and Path(model).expanduser().exists():  # a file, or a folder: a name or an address is none
        kept = [*_without(kept, "--engine"), "--engine", f"{program}:{Path(model).expanduser().absolute()}"]
    return kept


def _without(arguments: Sequence[str], option: str) -> list[str]:
    """
    >>> _without(["join", "URL", "--token", "secret", "--name", "a", "--token=secret"], "--token")
    ['join', 'URL', '--name', 'a']
    """
    kept = [word for word in arguments if not word.startswith(f"{option}=")]
    while option in kept:
        at = kept.index(option)
        del kept[at : at + 2]
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lent:
    """A machine that is a member: its agent, the event that ends it (ctrl-c sets it), and who hears what happens."""

    agent: Agent
    stop: threading.Event
    url: str
    key: str
    listeners: list[events.Listener]


@contextmanager
def _joined(wishes: Wishes, options: AgentOptions, shown: events.Listener) -> Iterator[_Lent]:
    """This machine as a member. Raises NotAuthorized without a token where it is none yet."""
    device = machine.choose_device(options.device)
    machine.bound_memory(device, options.memory)
    stop = threading.Event()
    client = HubClient(wishes.url, version=__version__)
    listeners: list[events.Listener] = [shown]

    def tell(event: events.Event) -> None:
        for listener in tuple(listeners):
            listener(event)

    with Store(wishes.state, options.cache_bytes) as store, stop_on_signals(stop):
        known = store.identity(client.url)
        if known is None and not wishes.token:
            raise NotAuthorized(
                "this machine is not a member yet",
                hint="give a join token with --token; the hub's operator has it",
            )
        agent = Agent(client, _executors(wishes, options, device), options, store, SystemClock(), tell)
        platform = machine.measure(device, options.threads) if known is None else {}
        with suppress(Stopped):
            agent.join(token=wishes.token, name=wishes.name, platform=platform, stop=stop)
            identity = store.identity(client.url)
            assert identity is not None, "who has joined has an identity"
            yield _Lent(agent=agent, stop=stop, url=client.url, key=identity.key, listeners=listeners)
    client.close()


@contextmanager
def _serving(lent: _Lent, wishes: Wishes, options: AgentOptions, server: str | Launch) -> Iterator[None]:
    """Answer beside the other work, if that is wanted, from the moment on in which the agent finds that the machine may
    work. What is begun is finished at the end."""
    if not {answering.ROLE, answering.JUDGE} & set(options.roles):
        yield
        return
    device = machine.choose_device(options.device)
    memory = machine.free_memory(device, options.memory)
    part = answering.Answering(
        answering.Lent(
            url=lent.url,
            folder=wishes.state / "models",
            memory=memory if options.roles == (answering.ROLE,) else memory // 2,
            threads=options.threads,
            device=device,
            server=server,
            judges=answering.ROLE not in options.roles,
            pace=lent.agent.bucket.reserve,
        ),
        lambda: lent.key,
        _told_json if wishes.json else _tell,
    )
    part.prepare()
    lent.listeners.append(part.heard)
    try:
        yield
    finally:
        lent.listeners.remove(part.heard)
        part.close()


def _server(wishes: Wishes, options: AgentOptions) -> str | Launch:
    """``--engine`` as an address or a server to start. Raises UserError."""
    made = launched.named(wishes.engine, program=wishes.engine_program, threads=options.threads or 0)
    if made is None and wishes.engine_program:
        raise UserError("--engine-program: there is no server to start", hint="--engine llama.cpp:MODEL.gguf")
    return wishes.engine if made is None else made


def _told_json(told: Told) -> None:
    console.print_json_line(
        {"event": f"serving_{told.what}", "message": told.message, "seconds": told.seconds}
    )


def _tell(told: Told) -> None:
    text = {
        "connected": "serving: asks come over one connection to the hub",
        "away": f"[yellow]serving waits[/] {told.seconds:.0f} s: {console.safe(told.message)}",
        "left": f"serving has ended{': ' + console.safe(told.message) if told.message else ''}",
    }[told.what]
    console.out.print(f"[dim]{console.ago(SystemClock().now())}[/] {text}")


def _options(wishes: Wishes) -> AgentOptions:
    return AgentOptions(
        threads=wishes.threads,
        memory=parse_size(wishes.memory) if wishes.memory else None,
        hours=parse_hours(wishes.hours) if wishes.hours else None,
        upload_limit=parse_rate(wishes.upload_limit) if wishes.upload_limit else None,
        roles=_roles(wishes.roles),
        device=wishes.device,
        max_load=None if wishes.max_load >= 1 else wishes.max_load,
        on_battery=wishes.on_battery,
    )


def _roles(text: str) -> tuple[wire.Role, ...]:
    known = get_args(wire.Role)
    roles = tuple(role.strip() for role in text.split(",") if role.strip())
    for role in roles:
        if role not in known:
            raise UserError(f"--roles: no role '{role}'", hint="choose from " + ", ".join(known))
    if not roles:
        raise UserError("--roles: none given", hint="choose from " + ", ".join(known))
    return cast(tuple[wire.Role, ...], roles)


def _executors(wishes: Wishes, options: AgentOptions, device: str) -> dict[str, ExecutorFactory]:
    """What computes units. Only these ever run, whatever a hub asks for. What they need is imported now: it takes
    seconds, for which the others would wait if it were done in the first round."""
    if "train" not in options.roles or importlib.util.find_spec("torch") is None:
        return {}
    importlib.import_module("commonweal.train.executor")
    return {UNIT_KIND: partial(_train_executor, wishes.state / "sessions", options.threads, device)}


def _train_executor(folder: Path, threads: int | None, device: str) -> Executor:
    from commonweal.train.executor import TrainExecutor

    folder.mkdir(parents=True, exist_ok=True)
    return TrainExecutor(folder, threads=threads, device=device)


def _show_json(event: events.Event) -> None:
    console.print_json_line({"event": type(event).__name__.lower(), **asdict(event)})


class Display:
    """A line for each thing that happened, and below them, through ``say``, what goes on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __call__(self, event: events.Event) -> None:
        text = _told(event)
        if text:
            console.out.print(f"[dim]{console.ago(SystemClock().now())}[/] {text}")
        self._say(_goes_on(event))


def _goes_on(event: events.Event) -> str:
    """What the machine does after ``event``."""
    match event:
        case events.Leased(amount=amount):
            return f"working: {amount} steps to do"
        case events.Downloading(here=here, size=size):
            return f"downloading: {console.share(here, size)}"
        case events.Progressed(amount_done=done, amount=amount):
            return f"working: {done} of {amount} steps"
        case events.Uploading(size=size):
            return f"uploading {console.size(size)}B"
        case events.Paused(message=message):
            return f"paused: {message}"
        case events.Waiting(reason=reason):
            return f"waiting: {reason}"
        case events.Joined():
            return "asking the hub how things stand"
        case events.Left():
            return "leaving"
        case _:
            return "waiting for work"


def _told(event: events.Event) -> str:
    """One line for people; '' for what they need not see."""
    safe = console.safe
    match event:
        case events.Joined(member=member, name=name, new=new):
            return f"{'joined' if new else 'back'} as {safe(name)} ({member}); ctrl-c hands the work back and leaves"
        case events.Leased(job=job, amount=amount):
            return f"working on {safe(job)}: {amount} steps"
        case events.Submitted(amount_done=done, seconds=seconds, duplicate=duplicate):
            return f"handed in {done} steps after {seconds:.1f} s" + (" (again)" if duplicate else "")
        case events.Uploading(size=size):
            return f"uploading {console.size(size)}B"
        case events.Lost(reason=reason):
            return f"[yellow]lost the lease[/]: {safe(reason)}"
        case events.Released(failure=failure, message=message):
            return f"[yellow]handed back[/] {safe(failure or 'undone')}: {safe(message)}"
        case events.Paused(message=message):
            return f"[yellow]paused[/]: {safe(message)}"
        case events.Resumed():
            return "going on"
        case events.Waiting(reason=reason, seconds=seconds):
            return f"[yellow]waiting[/] {seconds:.0f} s: {safe(reason)}"
        case events.Left(told=told):
            return "left" if told else "left; the hub could not be told"
        case _:
            return ""
