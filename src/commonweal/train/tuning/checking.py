"""Whether a file can be trained on, by which hyperparameters, and what that takes. Needs the tokenizer, and
no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonweal.data.conversations.encoding import Encoded, encode_examples
from commonweal.data.conversations.examples import Method
from commonweal.data.conversations.preview import Preview, preview
from commonweal.data.conversations.problems import BadFile, Problems
from commonweal.data.conversations.reading import read_examples
from commonweal.data.examples import held_out_split
from commonweal.models.encoder import ChatEncoder
from commonweal.train.tuning.bases import Base
from commonweal.train.tuning.hyperparameters import Hyperparameters, TuningOptions, choose

LEAST_EXAMPLES = 10
MARGIN = 1.1
_LAST_ROUND = 1_000_000

Role = Literal["training_file", "validation_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTuning:
    """``learned`` and ``held_out`` are the examples of each kind. ``epoch_tokens`` are read in one epoch;
    ``tokens`` are those of all epochs, which are paid for at ``microcredits``; ``budget`` is what to set
    aside (a last round may go over). ``seconds`` is None where no speed is known."""

    learned: tuple[Encoded, ...]
    held_out: tuple[Encoded, ...]
    hyperparameters: Hyperparameters
    preview: Preview
    epoch_tokens: int
    tokens: int
    microcredits: int
    budget: int
    seconds: float | None
    warnings: tuple[str, ...]


def check_tuning(
    base: Base,
    training: bytes,
    options: TuningOptions,
    *,
    validation: bytes | None = None,
    tokens_per_second: float | None = None,
) -> CheckedTuning:
    """Read the files and choose. ``tokens_per_second`` is what the pool has been measured to train of this
    model.

    Raises :class:`BadTuningFile` for a file that cannot be used, ConfigError for a model or a hyperparameter.
    """
    encoder = base.encoder()
    encoded, problems = _encoded(training, options.method, encoder, base.window, "training_file")
    if validation is None:
        learned, held_out = held_out_split(encoded, seed=options.seed)
        warnings = [str(problem) for problem in problems.warnings]
    else:
        held_out, others = _encoded(validation, options.method, encoder, base.window, "validation_file")
        learned = list(encoded)
        warnings = [str(problem) for problem in (*problems.warnings, *others.warnings)]
    chosen = choose(options, examples=len(learned), width=base.width, adapter=base.adapter_settings())
    epoch = sum(one.tokens for one in learned)
    counted = chosen.epochs * len(learned) * counted_tokens(learned)
    cost = counted * options.per_1000_tokens // 1000
    return CheckedTuning(
        learned=tuple(learned),
        held_out=tuple(held_out),
        hyperparameters=chosen,
        preview=preview(encoded, problems, encoder.decode),
        epoch_tokens=epoch,
        tokens=counted,
        microcredits=cost,
        budget=round(MARGIN * cost) + _LAST_ROUND,
        seconds=counted / tokens_per_second if tokens_per_second else None,
        warnings=tuple(warnings),
    )


def counted_tokens(encoded: list[Encoded] | tuple[Encoded, ...]) -> int:
    """What an example counts as: the mean number of its tokens, rounded up."""
    return max(2, -(-sum(one.tokens for one in encoded) // max(1, len(encoded))))


class BadTuningFile(BadFile):
    """A file that cannot be trained on. ``role`` says which of the two."""

    def __init__(self, problems: Problems, role: Role) -> None:
        super().__init__(problems)
        self.role: Role = role


def _encoded(
    data: bytes, method: Method, encoder: ChatEncoder, window: int, role: Role
) -> tuple[list[Encoded], Problems]:
    read = read_examples(data, method, least=LEAST_EXAMPLES if role == "training_file" else 1)
    encoded = encode_examples(read.examples, encoder, read.problems, window=window)
    if read.problems.errors:
        raise BadTuningFile(read.problems, role)
    return encoded, read.problems
