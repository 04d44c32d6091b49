"""The body of ``POST /v1/responses``: input items, tools and the form of the answer, as OpenAI's clients send them.

What came out of an earlier answer can be sent in again as it is. Nothing is kept between two requests, so what would
need that is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from commonweal.serve.api.asking import AskBody, Strict
from commonweal.serve.api.sampling_body import MOST_TOKENS
from commonweal.serve.api.tags import by_type, mode_or_object, text_or_list

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Strict):
    """Text of the one who asks."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: Any = None


class OutputText(Strict):
    """Text of an earlier answer."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class Refusal(Strict):
    """A refusal of an earlier answer."""

    type: Literal["refusal"]
    refusal: str


class InputImage(Strict):
    """A picture within the request, as a data: URL. Nothing is ever fetched."""

    type: Literal["input_image"]
    image_url: str
    detail: str | None = None
    file_id: None = None
    prompt_cache_breakpoint: Any = None


Part = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[OutputText, Tag("<output_text>")]
    | Annotated[Refusal, Tag("<refusal>")]
    | Annotated[InputImage, Tag("<input_image>")],
    Discriminator(by_type),
]
Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[Part], Tag("<list>")], Discriminator(text_or_list)
]


class MessageItem(Strict):
    """One turn."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class CallItem(Strict):
    """A call that the model made earlier."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["function_call"]
    call_id: str = Field(max_length=256)
    name: str = Field(max_length=128)
    arguments: str
    id: str | None = None
    status: Status | None = None
    caller: Any = None
    namespace: None = None
    async_: bool | None = Field(default=None, alias="async")


class OutputItem(Strict):
    """What a called function answered."""

    type: Literal["function_call_output"]
    call_id: str = Field(max_length=256)
    output: Content
    id: str | None = None
    name: str | None = None
    status: Status | None = None
    caller: Any = None
    namespace: None = None


class ReasoningItem(Strict):
    """What another server's model thought: accepted and left out."""

    model_config = ConfigDict(extra="allow")

    type: Literal["reasoning"]


def _item_tag(value: Any) -> str | None:
    if isinstance(value, dict) and "type" not in value:
        return "<message>"
    return by_type(value)


Item = Annotated[
    Annotated[MessageItem, Tag("<message>")]
    | Annotated[CallItem, Tag("<function_call>")]
    | Annotated[OutputItem, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")],
    Discriminator(_item_tag),
]
Input = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[Item], Field(min_length=1, max_length=4096), Tag("<list>")],
    Discriminator(text_or_list),
]


class ResponseTool(Strict):
    """A function that the model may call: functions are the only kind."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(Strict):
    """The function to be called."""

    type: Literal["function"]
    name: str


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<mode>")] | Annotated[NamedFunction, Tag("<object>")],
    Discriminator(mode_or_object),
]


class PlainText(Strict):
    """Any text."""

    type: Literal["text"]


class AnyJson(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaJson(Strict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


TextForm = Annotated[
    Annotated[PlainText, Tag("<text>")]
    | Annotated[AnyJson, Tag("<json_object>")]
    | Annotated[SchemaJson, Tag("<json_schema>")],
    Discriminator(by_type),
]


class TextOptions(Strict):
    """The form of the answer. ``verbosity`` is accepted without effect."""

    format: TextForm | None = None
    verbosity: str | None = None


class ResponseStreamOptions(Strict):
    """Accepted; nothing is obfuscated."""

    include_obfuscation: bool | None = None


class ResponseBody(AskBody):
    """A request for an answer to some input."""

    input: Input
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = None
    text: TextOptions | None = None
    tools: list[ResponseTool] | None = Field(default=None, max_length=128)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    store: Literal[False] | None = Field(default=None, description="Nothing is stored.")
    truncation: Literal["disabled"] | None = None
    metadata: dict[str, str] | None = Field(default=None, description="Told again in the answer.")

    previous_response_id: str | None = Field(default=None, description="Not supported: nothing is kept.")
    conversation: Any = Field(default=None, description="Not supported: nothing is kept.")
    prompt: Any = Field(default=None, description="Not supported: nothing is kept.")
    background: bool | None = Field(default=None, description="Not supported: use a batch.")

    max_tool_calls: int | None = None
    reasoning: dict[str, Any] | None = Field(default=None, description="Accepted; without effect.")
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None

    @property
    def wants_logprobs(self) -> bool:
        return self.top_logprobs is not None or "message.output_text.logprobs" in (self.include or ())
