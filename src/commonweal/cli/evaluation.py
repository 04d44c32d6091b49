"""Commands of evaluation: ask a model, and read what came of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonweal.cli.program import (
    DEFAULT_FOLDER,
    JsonOption,
)
from commonweal.core.errors import UserError

if TYPE_CHECKING:
    from commonweal.evals.plan import Wishes


commands = typer.Typer()

_ASKED, _LIMITS, _CARRIED_OUT = "What is asked", "Limits and cost", "How it is carried out"


def _option(panel: str, text: str, *flags: str, **more: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, **more)


# What ``eval`` and ``refresh`` have in common.

SuiteOption = Annotated[str, _option(_ASKED, "A list of scenarios: offline, core, ...")]
ScenarioOption = Annotated[
    list[str] | None,
    _option(
        _ASKED,
        "A scenario, such as mmlu:subject=anatomy, or a file (my.toml, an lm_eval task.yaml); repeatable.",
    ),
]
MaxInstancesOption = Annotated[
    int, _option(_ASKED, "Ask so many instances of each scenario; 0 for all.", min=0)
]
ShotsOption = Annotated[
    int | None, _option(_ASKED, "Examples in a prompt; the scenario's own number if left out.", min=0)
]
TrialsOption = Annotated[
    int | None, _option(_ASKED, "How often to ask, each time with other examples.", min=1)
]
PerturbationsOption = Annotated[
    str,
    _option(
        _ASKED,
        "robustness, fairness, names separated by commas, or none. Left out, a suite has both, a single scenario none.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, _option(_ASKED, "Draws instances, examples and perturbations.")]
JudgeOption = Annotated[str, _option(_ASKED, "The model that judges, where a scenario needs one.")]
DataRootOption = Annotated[Path | None, _option(_ASKED, "A folder of data sets, read in place of downloads.")]
AskOption = Annotated[
    str,
    _option(
        _ASKED,
        "chat (with the model's own template), completion, or auto: completion where there is one. Left out, as each"
        " scenario says.",
        show_default=False,
    ),
]
ConfidenceOption = Annotated[
    str,
    _option(
        _ASKED,
        "How sure it is of an answer: auto, logprobs, sampled, verbalized, none. auto: by log-probabilities, or by"
        " more samples of short answers where it tells none.",
    ),
]
MaxCostOption = Annotated[
    float | None, _option(_LIMITS, "Stop when this command has spent so many US dollars.", min=0)
]
MaxTokensOption = Annotated[int | None, _option(_LIMITS, "Stop when it has used so many tokens.", min=1)]
MaxTimeOption = Annotated[float | None, _option(_LIMITS, "Stop after so many seconds.", min=0)]
PriceInOption = Annotated[float | None, _option(_LIMITS, "US dollars for a million tokens read.", min=0)]
PriceOutOption = Annotated[float | None, _option(_LIMITS, "US dollars for a million tokens written.", min=0)]
PrintJsonOption = Annotated[bool, _option(_CARRIED_OUT, "Print JSON for programs.", "--json")]
ConcurrencyOption = Annotated[
    int, _option(_CARRIED_OUT, "Samples in flight at most; 0 for what suits the model.", min=0)
]
StreamOption = Annotated[
    bool,
    _option(
        _CARRIED_OUT,
        "Have answers streamed, to measure the time to the first token; scenarios of efficiency always do.",
        "--stream",
    ),
]
NoPicturesOption = Annotated[
    bool,
    _option(
        _CARRIED_OUT,
        "Keep only the hashes of pictures in prompts, where their licence lets nobody show them.",
        "--no-pictures",
    ),
]
JudgeKeyEnvOption = Annotated[
    str, _option(_CARRIED_OUT, "The environment variable that holds the judge's key.", show_default=False)
]


@commands.command("eval")
def eval_(
    model: Annotated[
        str, _option(_ASKED, "A server (http://host/v1#name), a folder, a provider's model, or mock.")
    ] = "",
    suite: SuiteOption = "",
    scenario: ScenarioOption = None,
    max_instances: MaxInstancesOption = 0,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    perturbations: PerturbationsOption = "",
    seed: SeedOption = 0,
    judge: JudgeOption = "",
    data_root: DataRootOption = None,
    ask: AskOption = "",
    confidence: ConfidenceOption = "auto",
    estimate: Annotated[
        bool, _option(_LIMITS, "Say what it would take, and ask nothing.", "--estimate")
    ] = False,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    max_time: MaxTimeOption = None,
    max_failures: Annotated[
        float, _option(_LIMITS, "Give a run up when more than this share of it fails.", min=0, max=1)
    ] = 0.1,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    out: Annotated[Path, _option(_CARRIED_OUT, "Where to make the folder of this evaluation.")] = Path(
        "runs"
    ),
    resume: Annotated[
        Path | None, _option(_CARRIED_OUT, "Go on with an evaluation: ask only what is missing.")
    ] = None,
    concurrency: ConcurrencyOption = 0,
    stream: StreamOption = False,
    no_pictures: NoPicturesOption = False,
    key_env: Annotated[
        str,
        _option(_CARRIED_OUT, "The environment variable that holds the model's key.", show_default=False),
    ] = "",
    judge_key_env: JudgeKeyEnvOption = "",
    cache: Annotated[
        Path | None,
        _option(_CARRIED_OUT, "Keep answers in this file; only those of providers are kept if left out."),
    ] = None,
    no_cache: Annotated[bool, _option(_CARRIED_OUT, "Keep no answers.", "--no-cache")] = False,
    json_: PrintJsonOption = False,
) -> None:
    """Evaluate a language model: accuracy, calibration, robustness, fairness, bias, toxicity, efficiency."""
    from commonweal.commands import evaluating
    from commonweal.evals.adapters.confidence import check_wish
    from commonweal.evals.budget import Limits, prices_of

    wishes = replace(
        _wishes(model, suite, scenario, max_instances, shots, trials, perturbations, seed, judge, data_root),
        confidence=check_wish(confidence),
    )
    wishes = replace(wishes, stream=stream, ask=ask, no_pictures=no_pictures)
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
        key_of=lambda text: _key(text, key_env, "--key-env"),
        judge_key_of=lambda text: _key(text, judge_key_env, "--judge-key-env"),
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


def _key(model: str, named: str, flag: str) -> str | None:
    """The key for a model or a judge: from the variable that the user ``named`` for it, or from its provider's usual
    one."""
    from commonweal.evals.completers.resolve import key_name

    name = named or key_name(model)
    if named and not os.environ.get(named):
        raise UserError(f"{flag} {named}: no such variable is set", hint=f"export {named}=...")
    return os.environ.get(name) if name else None


def _named_keys(models: list[str], key_env: list[str] | None) -> dict[str, str]:
    """The variable that holds each model's key, by the order in which they were given: no model gets another's."""
    if key_env and len(key_env) != len(models):
        raise UserError(
            f"--key-env: {len(key_env)} for {len(models)} models",
            hint="give one for each --model, in their order; '' for its provider's usual one",
        )
    return dict(zip(models, key_env or [], strict=False))


PathsArgument = Annotated[list[Path], typer.Argument(help="Folders with runs, such as runs/.")]


@commands.command()
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


@commands.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A folder with runs of one model.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    json_: JsonOption = False,
) -> None:
    """Two evaluations, instance by instance: what differs by how much, and which answers flipped."""
    from commonweal.commands import boards

    boards.show_comparison(a, b, as_json=json_)


@commands.command()
def release(
    name: Annotated[str, typer.Argument(help="What to call it, such as 2026-11.")],
    paths: PathsArgument,
    out: Annotated[Path, typer.Option(help="The folder of releases, with their history.")] = Path("releases"),
    json_: JsonOption = False,
) -> None:
    """Freeze runs under a name, and say what changed since the release before, and why."""
    from commonweal.commands import boards

    boards.make_release(name, paths, out, as_json=json_)


@commands.command()
def refresh(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders with runs; new ones are made in the first of them.")
    ],
    model: Annotated[
        list[str] | None, _option(_ASKED, "A model of the matrix, as eval takes it; repeatable.")
    ] = None,
    suite: SuiteOption = "",
    scenario: ScenarioOption = None,
    max_instances: MaxInstancesOption = 0,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    perturbations: PerturbationsOption = "",
    seed: SeedOption = 0,
    judge: JudgeOption = "",
    data_root: DataRootOption = None,
    ask: AskOption = "",
    confidence: ConfidenceOption = "auto",
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    max_time: MaxTimeOption = None,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    concurrency: ConcurrencyOption = 0,
    stream: StreamOption = False,
    no_pictures: NoPicturesOption = False,
    key_env: Annotated[
        list[str] | None,
        _option(
            _CARRIED_OUT, "The environment variable that holds a model's key: one for each --model, in order."
        ),
    ] = None,
    judge_key_env: JudgeKeyEnvOption = "",
    dry_run: Annotated[
        bool, _option(_CARRIED_OUT, "Say what would be run and why, and ask nothing.", "--dry-run")
    ] = False,
    json_: PrintJsonOption = False,
) -> None:
    """Run only what is missing from a matrix of models and scenarios, or was asked otherwise."""
    from commonweal.commands import evaluating, refreshing
    from commonweal.evals.adapters.confidence import check_wish
    from commonweal.evals.budget import Limits, prices_of

    if not model:
        raise UserError("no model", hint="give --model URL#name, a folder, or mock; once for each")
    if not suite and not scenario:
        raise UserError("nothing to evaluate", hint="give --suite offline, or --scenario NAME")
    wishes = _wishes("", suite, scenario, max_instances, shots, trials, perturbations, seed, judge, data_root)
    wishes = replace(
        wishes, stream=stream, ask=ask, confidence=check_wish(confidence), no_pictures=no_pictures
    )
    keys = _named_keys(model, key_env)
    options = evaluating.EvalOptions(
        home=DEFAULT_FOLDER.expanduser(),
        out=paths[0],
        limits=Limits(cost=max_cost, tokens=max_tokens, seconds=max_time),
        prices=prices_of(price_in, price_out),
        concurrency=concurrency,
        key_of=lambda text: _key(text, keys.get(text, ""), "--key-env"),
        judge_key_of=lambda text: _key(text, judge_key_env, "--judge-key-env"),
        json=json_,
    )
    code = refreshing.run_refresh(model, paths, wishes, options, dry=dry_run)
    if code:
        raise typer.Exit(code)


def _wishes(
    model: str,
    suite: str,
    scenario: list[str] | None,
    max_instances: int,
    shots: int | None,
    trials: int | None,
    perturbations: str,
    seed: int,
    judge: str,
    data_root: Path | None,
) -> Wishes:
    from commonweal.evals.plan import Wishes

    return Wishes(
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


@commands.command("import-helm")
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
