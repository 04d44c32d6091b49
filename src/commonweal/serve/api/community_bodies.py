"""What the community routes are sent, and what they answer with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from commonweal.serve.api.storable import Sent, Text
from commonweal.serve.community.asking import Parameters
from commonweal.serve.community.building import BuildOptions
from commonweal.serve.community.comparing import Comparison
from commonweal.serve.community.conversations import LONGEST_TITLE
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.feedback import LONGEST_COMMENT, LONGEST_IDEAL, Feedback
from commonweal.serve.community.improvements import STATES, Improvement
from commonweal.serve.community.records import Conversation, Turn
from commonweal.serve.community.review import Review
from commonweal.serve.community.sight import seen
from commonweal.serve.community.terms import Consent

LONGEST_MESSAGE = 200_000

_Title = Annotated[Text, StringConstraints(max_length=4 * LONGEST_TITLE)]
_Comment = Annotated[Text, StringConstraints(max_length=LONGEST_COMMENT)]
_Content = Annotated[Text, StringConstraints(min_length=1, max_length=LONGEST_MESSAGE, pattern=r"\S")]
_Model = Annotated[Text, StringConstraints(min_length=1, max_length=130)]
_Stop = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
_Seed = Annotated[int, Field(ge=0, lt=2**62)]
_Id = Annotated[Text, StringConstraints(min_length=1, max_length=100)]


class NewConversation(Sent):
    """``licence``: one that goes with the consent; left out, the first of them."""

    title: _Title = ""
    consent: Consent = "none"
    licence: Annotated[Text, StringConstraints(max_length=60)] | None = None


class ChangeConversation(Sent):
    """What is left out stays."""

    title: _Title | None = None
    consent: Consent | None = None
    licence: Annotated[Text, StringConstraints(max_length=60)] | None = None


class AskedBody(Sent):
    """A new message after ``parent`` (an answer, or nothing at the beginning); or, without ``content``, another answer
    to the user's message ``parent``. ``trusted``: only machines of the operator's or of the account itself may read
    it."""

    content: _Content | None = None
    parent: _Id | None = None
    temperature: float = Field(default=0.7, ge=0, le=2, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int = Field(default=512, ge=1, le=2**20)
    stop: list[_Stop] = Field(default_factory=list, max_length=16)
    seed: _Seed | None = None
    system: Annotated[Text, StringConstraints(max_length=LONGEST_MESSAGE)] | None = None
    trusted: bool = False

    def parameters(self) -> Parameters:
        return Parameters(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=tuple(self.stop),
            seed=self.seed,
            system=self.system or None,
        )


class AskedOne(AskedBody):
    """``tools`` of the hub, as in the field `commonweal` of a chat request."""

    model: _Model
    tools: list[Any] | None = Field(default=None, max_length=20)


class AskedTwo(AskedBody):
    """Two models, or the same one twice."""

    models: list[_Model] = Field(min_length=2, max_length=2)


class Choosing(Sent):
    choice: Literal["first", "second", "tie"]
    comment: _Comment = ""


class Thumb(Sent):
    """``reasons``: of the fixed list that GET /v1/community/terms tells."""

    rating: Literal[-1, 1]
    reasons: list[Annotated[Text, StringConstraints(max_length=60)]] = Field(
        default_factory=list, max_length=20
    )
    comment: _Comment = ""


class Ideal(Sent):
    content: Annotated[Text, StringConstraints(min_length=1, max_length=LONGEST_IDEAL)]
    comment: _Comment = ""


class Deciding(Sent):
    """``why`` is asked of a refusal, and of a change of mind."""

    status: Literal["accepted", "refused"]
    why: _Comment = ""


class NewDataSet(Sent):
    """See the data set's manifest: all of this stands there."""

    consent: Literal["improve", "publish"] = "improve"
    held_out: float = Field(default=0.2, ge=0, lt=1, allow_inf_nan=False)
    per_account: int = Field(default=200, ge=1, le=10**6)
    near: float = Field(default=0.85, gt=0, le=1, allow_inf_nan=False)
    salt: Annotated[Text, StringConstraints(max_length=100)] = ""
    model: Annotated[Text, StringConstraints(max_length=100)] | None = None
    since: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    until: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def options(self) -> BuildOptions:
        return BuildOptions(**self.model_dump())


class NewImprovement(Sent):
    """``guards``: scenarios that the next version must not be worse at, each over ``instances``. ``epochs``: passes
    over the feedback (left out: by its size). ``fewest``: held-out examples of one kind that are enough to tell."""

    model: _Model
    guards: list[Annotated[Text, StringConstraints(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=20
    )
    instances: int = Field(default=100, ge=10, le=10_000)
    epochs: int | None = Field(default=None, ge=1, le=50)
    fewest: int = Field(default=10, ge=1, le=10**6)


def conversation_view(found: Conversation) -> dict[str, Any]:
    return {
        "id": found.id,
        "object": "conversation",
        "title": found.title,
        "consent": found.terms.consent,
        "licence": found.terms.licence,
        "created": found.created,
        "updated": found.updated,
    }


def turn_view(turn: Turn, blind: frozenset[str] = frozenset()) -> dict[str, Any]:
    made = seen(turn, blind)
    terms: dict[str, Any] = made.pop("terms")
    return {"object": "message"} | made | terms


def feedback_view(given: Feedback) -> dict[str, Any]:
    return {"object": "feedback"} | asdict(given)


def comparison_view(comparison: Comparison) -> dict[str, Any]:
    """The seed is told when it can give nothing away any more."""
    made = {"object": "comparison"} | asdict(comparison)
    return made if comparison.choice is not None else made | {"seed": None}


def review_view(review: Review) -> dict[str, Any]:
    return {"object": "review"} | asdict(review)


def dataset_view(dataset: DataSet) -> dict[str, Any]:
    return {"object": "community.dataset"} | asdict(dataset)


def improvement_view(found: Improvement) -> dict[str, Any]:
    """What was decided and said; the stages in the order in which they were reached."""
    made = {"object": "community.improvement"} | asdict(found)
    made["stages"] = {state: found.stages[state] for state in STATES if state in found.stages}
    hidden = ("held_out", "trouble", "not_before")
    return {name: value for name, value in (made | made.pop("options")).items() if name not in hidden}
