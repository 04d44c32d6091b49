"""``commonweal eval``: from wishes to a folder of runs and a table.

Wires scenarios, adapters, perturbations, metrics and a model together; decides nothing about any of them. The
environment is not read here: keys come from ``key_of``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from commonweal import console
from commonweal.commands.eval_board import board, estimates_table, evaluation_json, sampled_lines
from commonweal.commands.eval_display import display
from commonweal.core.completion import Abilities, Completer, Completion, CompletionFailed, Request
from commonweal.core.errors import CommonwealError, NotAuthorized, Unavailable, UserError
from commonweal.evals import assembling
from commonweal.evals.adapters.tokens import TokenCounter
from commonweal.evals.budget import Limits, Prices, Spent, check_limits, listed_prices
from commonweal.evals.cache import CachedCompleter, RequestCache
from commonweal.evals.completers.providers import PROVIDERS
from commonweal.evals.completers.remote import RemoteOptions
from commonweal.evals.completers.resolve import open_completer
from commonweal.evals.energy.meter import ELSEWHERE
from commonweal.evals.estimate import Estimate, estimate
from commonweal.evals.evaluation import Evaluation, begun, evaluate, other_model
from commonweal.evals.loading.loader import DataLoader
from commonweal.evals.material import gather
from commonweal.evals.measuring import Bench
from commonweal.evals.metered import Metered
from commonweal.evals.metrics.metric import Tools
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import Planned, Wishes, folder_name
from commonweal.evals.scenario import Args, Scenario
from commonweal.evals.scenarios.toml import load_scenario
from commonweal.evals.spec import RunSpec

log = logging.getLogger(__name__)

KeyOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """How an evaluation is carried out; what is asked stands in the Wishes. ``key_of`` gives the key for a model as it
    was written, ``judge_key_of`` the key for a judge: neither is ever sent to the other's server. ``cache`` None is the
    default one, ``concurrency`` 0 the model's own."""

    home: Path
    out: Path
    key_of: KeyOf
    judge_key_of: KeyOf
    resume: Path | None = None
    estimate: bool = False
    limits: Limits = field(default_factory=Limits)
    prices: Prices | None = None
    failure_rate: float = 0.1
    concurrency: int = 0
    cache: Path | None = None
    no_cache: bool = False
    json: bool = False


def run_eval(wishes: Wishes, options: EvalOptions) -> int:
    """Evaluate, show what came of it, and give the exit code."""
    with _told_once():
        return _run_eval(wishes, options)


@contextmanager
def _told_once() -> Iterator[None]:
    """What is missing is told with its run: without --verbose, no warning says it before."""
    log = logging.getLogger("commonweal.evals")
    before = log.level
    if not logging.getLogger().isEnabledFor(logging.INFO):
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _run_eval(wishes: Wishes, options: EvalOptions) -> int:
    if options.resume is not None:
        folder, told = begun(options.resume)
        wishes = replace(told, data_root=wishes.data_root or told.data_root)
        options = replace(options, resume=folder)
    if options.estimate:
        return _show_estimate(wishes, options, _prices(wishes, options))
    done = _evaluated(wishes, options)
    if options.json:
        console.print_json(evaluation_json(done, DEFINITIONS))
    else:
        show_board(done)
    return exit_code(done)


def evaluated(wishes: Wishes, options: EvalOptions, spent: Spent, began: float) -> Evaluation:
    """Evaluate into a new folder, and show nothing but how far it is. Limits count from ``began`` (of the monotonic
    clock) and over all that was ``spent`` since, which this adds to."""
    with _told_once():
        return _evaluated(wishes, options, spent, began)


def _evaluated(
    wishes: Wishes, options: EvalOptions, spent: Spent | None = None, began: float | None = None
) -> Evaluation:
    spent = spent or Spent()
    spent.prices = _prices(wishes, options)
    with _imported_stays():
        return asyncio.run(_evaluate(wishes, options, spent, time.monotonic() if began is None else began))


@contextmanager
def _imported_stays() -> Iterator[None]:
    """The garbage collector passes over what is there already: to walk through all modules again and again takes a
    tenth of an evaluation."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _prices(wishes: Wishes, options: EvalOptions) -> Prices | None:
    prices = options.prices or listed_prices(wishes.model)
    check_limits(options.limits, prices)
    return prices


def show_board(done: Evaluation) -> None:
    for line in board(done, DEFINITIONS):
        console.out.print(line)


def exit_code(done: Evaluation) -> int:
    """0 where all that can be measured was, and where it stopped at a limit that the user set; 1 where a run failed or
    nothing at all could be measured; 3 and 4 where the model did not let us in or was away."""
    kinds = {
        kind
        for entry in done.entries
        if entry.status == "failed" and entry.measured
        for kind in entry.measured.run["coverage"]["failures"]
    }
    if done.status == "failed" and kinds == {"not_authorized"}:
        return 3
    if done.status == "failed" and kinds == {"unreachable"}:
        return 4
    return 0 if done.status in ("done", "budget") else 1


async def _evaluate(wishes: Wishes, options: EvalOptions, spent: Spent, began: float) -> Evaluation:
    async with AsyncExitStack() as stack:
        warnings: list[str] = []
        whom = _Whom(text=wishes.model, key_of=options.key_of, stream=wishes.stream)
        opened = await stack.enter_async_context(_opened(whom, options, warnings))
        tools = Tools(data_root=_data_root(wishes))
        if wishes.judge:
            whom = _Whom(
                text=wishes.judge,
                key_of=options.judge_key_of,
                key_flag="--judge-key-env",
                whose="the judge's server",
            )
            judge = await stack.enter_async_context(_opened(whom, options, warnings))
            tools = replace(tools, judge=Metered(judge.completer, spent), judge_model=judge.model)
        bench = _bench(wishes, options, opened, tools, spent, began)
        bench.progress.warnings = warnings
        runs = planned(wishes, opened.model, opened.completer.abilities)
        if any(run.spec.adaptation.method == "tools" for run in runs):
            await _found_out("probe_tools", opened.inner)
            runs = planned(wishes, opened.model, opened.completer.abilities)
        if options.resume is None and not _within_limits(wishes, options, runs, bench):
            wishes = replace(wishes, confidence="logprobs")
            runs = planned(wishes, opened.model, opened.completer.abilities)
            console.err.print(
                "no confidence is sampled: that would go beyond the limit (--confidence sampled does it all the same)"
            )
        folder = options.resume or _new_folder(options.out, wishes, opened.model)
        await stack.enter_async_context(display(bench.progress, shown=not options.json))
        try:
            return await evaluate(runs, folder, wishes, opened.model, bench, command=_command(wishes))
        except asyncio.CancelledError:
            console.err.print(console.safe(f"stopped; to go on: commonweal eval --resume {folder}"))
            raise


def _within_limits(wishes: Wishes, options: EvalOptions, runs: Sequence[Planned], bench: Bench) -> bool:
    """Whether the samples that ``--confidence auto`` asks for, beside the answers, stay within the limits on money and
    tokens."""
    limits = options.limits
    if wishes.confidence != "auto" or (limits.cost is None and limits.tokens is None):
        return True
    if not any(run.spec.adaptation.confidence for run in runs):
        return True
    found = [estimate(run, bench) for run in runs]
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in found)
    dollars = sum(one.dollars or 0.0 for one in found)
    return not (
        (limits.tokens is not None and tokens > limits.tokens)
        or (limits.cost is not None and dollars > limits.cost)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A model that can be asked, its own name, and its tokens where it can count them. ``inner`` is the model behind
    the cache."""

    completer: Completer
    model: str
    inner: Completer
    tokens: TokenCounter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whom:
    """Who is to be asked: as the user wrote it, with the option by which its key is named, and what users call it.
    ``stream`` has all its answers streamed."""

    text: str
    key_of: KeyOf
    key_flag: str = "--key-env"
    whose: str = "the server"
    stream: bool = False


@asynccontextmanager
async def _opened(whom: _Whom, options: EvalOptions, warnings: list[str]) -> AsyncIterator[_Opened]:
    """A model with the cache in front of it. Only a provider's model has one by default: behind another address, and in
    a folder, the model of a name may be another one tomorrow. What is found out about it later is added to
    ``warnings``."""
    inner, model = await open_completer(
        whom.text,
        key=whom.key_of(whom.text),
        options=_remote_options(whom, options),
        on_other_model=lambda asked, told: warnings.append(other_model(asked, told, whose=whom.whose)),
    )
    counter = getattr(inner, "token_counter", None)
    completer, requests = inner, _request_cache(whom.text, options)
    if requests is not None:
        completer = CachedCompleter(inner, requests)
    try:
        await _found_out("probe", inner, whom.key_flag)
        yield _Opened(completer=completer, model=model, inner=inner, tokens=counter() if counter else None)
    finally:
        await completer.close()
        if requests is not None:
            requests.close()


def _remote_options(whom: _Whom, options: EvalOptions) -> RemoteOptions:
    """As many requests at once as there may be samples: fewer would hold back what the user asked for, and a sample may
    need several."""
    usual = RemoteOptions(stream=whom.stream)
    return replace(usual, concurrency=max(usual.concurrency, options.concurrency))


def _prepare(completer: Completer, wishes: Wishes, spec: RunSpec) -> None:
    """Stream the answers of a run that is ranked by its efficiency: the time to the first token is a part of it."""
    stream = getattr(completer, "stream_answers", None)
    if stream is not None:
        main = DEFINITIONS.get(spec.main_metric)
        stream(wishes.stream or (main is not None and main.aspect == "efficiency"))


def _request_cache(text: str, options: EvalOptions) -> RequestCache | None:
    if options.no_cache:
        return None
    path = options.cache
    if path is None and text.partition("/")[0] in PROVIDERS:
        path = options.home / "requests" / f"{folder_name(text)}.sqlite"
    return RequestCache(path.expanduser()) if path else None


async def _found_out(
    name: Literal["probe", "probe_tools"], completer: Completer, flag: str = "--key-env"
) -> None:
    """Let a model that can find out its abilities do so. Raises NotAuthorized and Unavailable in place of a failed
    completion: nothing can be asked at all."""
    probe = getattr(completer, name, None)
    if probe is None:
        return
    try:
        await probe()
    except CompletionFailed as error:
        if error.kind == "not_authorized":
            hint = f"name the environment variable that holds the key: {flag} NAME"
            raise NotAuthorized(error.message, hint=hint) from error
        raise Unavailable(error.message, hint=error.hint) from error


def planned(wishes: Wishes, model: str, abilities: Abilities) -> list[Planned]:
    """The runs of ``wishes``, for a model of these abilities, scenarios from files among them. Asks nothing."""
    return assembling.planned(wishes, model, abilities, resolve=_scenario)


def _scenario(name: str) -> tuple[Scenario, Args]:
    if name.endswith(".toml"):
        return load_scenario(Path(name))  # of all those that are in the registry, none is needed
    if name.endswith((".yaml", ".yml")):
        from commonweal.evals.exchange.lm_eval_tasks import load_task

        return load_task(Path(name))
    from commonweal.evals.scenarios.registry import resolve

    return resolve(name)


def _bench(
    wishes: Wishes,
    options: EvalOptions,
    opened: _Opened,
    tools: Tools,
    spent: Spent,
    began: float,
) -> Bench:
    return assembling.bench(
        opened.completer,
        _loader(wishes, options),
        endpoint=wishes.model,
        judge=wishes.judge,
        tools=tools,
        tokens=opened.tokens,
        spent=spent,
        limits=options.limits,
        began=began,
        failure_rate=options.failure_rate,
        concurrency=options.concurrency,
        command=partial(_run_command, wishes),
        prepare=partial(_prepare, opened.inner, wishes),
        energy=getattr(opened.inner, "energy", ELSEWHERE),
        pictures=not wishes.no_pictures,
    )


def _loader(wishes: Wishes, options: EvalOptions) -> DataLoader:
    return DataLoader(_data_root(wishes), options.home / "data", wishes.seed)


def data_now(wishes: Wishes, options: EvalOptions) -> Callable[[Planned], str]:
    """What gives the hash of the instances that a run would have now, "" where they cannot be read; each scenario is
    read once."""
    loader, found = _loader(wishes, options), dict[str, str]()

    def rows(run: Planned) -> str:
        if run.spec.name not in found:
            try:
                read = partial(run.scenario.read, loader, run.spec.args)
                with closing(gather(read, max_instances=1, seed=run.spec.seed)) as material:
                    found[run.spec.name] = material.rows
            except CommonwealError as error:
                log.info("data_not_read name=%s reason=%s", run.spec.name, error.message)
                found[run.spec.name] = ""
        return found[run.spec.name]

    return rows


def _data_root(wishes: Wishes) -> Path | None:
    return Path(wishes.data_root).expanduser() if wishes.data_root else None


class _NotAsked:
    """Stands for the model while nothing is asked."""

    abilities = Abilities()

    async def complete(self, request: Request) -> Completion:
        raise AssertionError("an estimate asks nothing")

    async def close(self) -> None:
        pass


def _show_estimate(wishes: Wishes, options: EvalOptions, prices: Prices | None) -> int:
    """What each scenario would take. Data that are not here yet are loaded; no model is asked."""
    opened = _Opened(completer=_NotAsked(), model=wishes.model, inner=_NotAsked())
    bench = _bench(wishes, options, opened, Tools(), Spent(prices=prices), time.monotonic())
    runs = planned(wishes, wishes.model, Abilities())
    with console.live_line("reading the data", shown=not options.json):
        found = [estimate(run, bench) for run in runs]
        more = _sampled_estimates(wishes, runs, bench)
    if options.json:
        console.print_json(
            {
                "model": wishes.model,
                "runs": [one.to_json() for one in found],
                "runs_without_logprobs": [one.to_json() for one in more],
            }
        )
    else:
        for line in (*estimates_table(found, prices), *sampled_lines(found, more)):
            console.out.print(line)
    return 0


def _sampled_estimates(wishes: Wishes, runs: Sequence[Planned], bench: Bench) -> list[Estimate]:
    """What the runs would take whose confidence is sampled, if the model tells no log-probabilities (which is known
    when it is asked)."""
    others = planned(wishes, wishes.model, Abilities(logprobs=False))
    if wishes.confidence != "auto":
        return []
    return [
        estimate(replace(run, spec=other.spec), bench)
        for run, other in zip(runs, others, strict=True)
        if other.spec.adaptation.confidence
    ]


def _new_folder(out: Path, wishes: Wishes, model: str) -> Path:
    """``runs/<date>-<model>-<suite>``, with a number where there is one of that name already."""
    what = wishes.suite or (wishes.scenarios[0] if len(wishes.scenarios) == 1 else "scenarios")
    name = f"{time.strftime('%Y-%m-%d')}-{folder_name(model)}-{folder_name(Path(what).stem)}"[:200]
    for number in range(1, 1000):
        folder = out.expanduser() / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"--out {out}: cannot be written: {error.strerror}") from None
        return folder
    raise UserError(f"--out {out}: there are a thousand evaluations called {name}", hint="clear some away")


def _command(wishes: Wishes) -> str:
    """The command that asks the same again. No key is in it."""
    words = ["commonweal", "eval", "--model", wishes.model]
    if wishes.suite:
        words += ["--suite", wishes.suite]
    for scenario in wishes.scenarios:
        words += ["--scenario", scenario]
    for flag, value in (
        ("--max-instances", wishes.max_instances or None),
        ("--shots", wishes.shots),
        ("--trials", wishes.trials),
        ("--perturbations", None if wishes.perturbations is None else ",".join(wishes.perturbations)),
        ("--data-root", wishes.data_root or None),
        ("--seed", wishes.seed or None),
        ("--judge", wishes.judge or None),
        ("--ask", wishes.ask or None),
        ("--confidence", wishes.confidence if wishes.confidence != "auto" else None),
    ):
        if value is not None:
            words += [flag, str(value)]
    switches = (("--stream", wishes.stream), ("--no-pictures", wishes.no_pictures))
    return shlex.join([*words, *(flag for flag, on in switches if on)])


def _run_command(wishes: Wishes, named: str, spec: RunSpec) -> str:
    """The command that asks one run again."""
    perturbations = spec.perturbations or ("none",)
    return _command(replace(wishes, suite="", scenarios=(named,), perturbations=perturbations))
