"""The body of ``POST /v1/chat/completions``, as OpenAI's clients and what is built on them send it.

Fields that OpenAI knows and that mean nothing here (``store``, ``metadata``, ``reasoning_effort`` ...) are accepted and
ignored; those that would change the answer and cannot be honoured (``audio``, ``functions``, ``web_search_options``)
are refused, like those that nobody knows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from commonweal.serve.api.asking import Extension, Strict
from commonweal.serve.api.sampling_body import MOST_TOKENS, SamplingBody
from commonweal.serve.api.tags import by_type, mode_or_object, text_or_list


class TextPart(Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str


class RefusalPart(Strict):
    """What an assistant said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(Strict):
    """A picture within the request, as a data: URL. Nothing is ever fetched."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[
    Annotated[TextPart, Tag("<text>")]
    | Annotated[RefusalPart, Tag("<refusal>")]
    | Annotated[ImagePart, Tag("<image_url>")],
    Discriminator(by_type),
]
Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[Part], Tag("<list>")], Discriminator(text_or_list)
]


class CalledFunction(Strict):
    """A function's name, and its arguments as JSON text."""

    name: str = Field(max_length=128)
    arguments: str


class CalledTool(Strict):
    """A call that an assistant made earlier."""

    id: str = Field(max_length=256)
    type: Literal["function"] = "function"
    index: int | None = None
    function: CalledFunction


class ChatMessage(Strict):
    """One turn. ``name`` is accepted and not shown to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[CalledTool] | None = Field(default=None, max_length=128)
    tool_call_id: str | None = None
    refusal: str | None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = None


class FunctionTool(Strict):
    """A function that the model may call; ``parameters`` is a JSON schema."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(Strict):
    """A tool: functions are the only kind."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Strict):
    """The function to be called."""

    name: str


class NamedTool(Strict):
    """The tool to be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Strict):
    """A named schema. With or without ``strict``, the answer is held to it."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextFormat(Strict):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")],
    Discriminator(by_type),
]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<mode>")] | Annotated[NamedTool, Tag("<object>")],
    Discriminator(mode_or_object),
]


class ChatExtension(Extension):
    """``tools``: what the hub runs for the model, see ``serve/tools/wanted.py``."""

    tools: list[Any] | None = Field(
        default=None,
        description="Tools that the hub runs: calculator, {type: sql, file_id}, {type: retrieval, file_ids}.",
    )


class ChatBody(SamplingBody):
    """A request for the next turn of a chat."""

    commonweal: ChatExtension | None = Field(
        default=None, description="Commonweal's extension: trusted workers, and tools that the hub runs."
    )
    messages: list[ChatMessage] = Field(min_length=1, max_length=2048)
    max_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[ChatTool] | None = Field(default=None, max_length=128)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    store: bool | None = Field(default=None, description="Accepted; nothing is stored.")
    metadata: dict[str, Any] | None = Field(default=None, description="Accepted and not kept.")
    modalities: list[Literal["text"]] | None = None
    prediction: dict[str, Any] | None = Field(default=None, description="Accepted; not made use of.")
    reasoning_effort: str | None = Field(default=None, description="Accepted; without effect.")
    verbosity: str | None = Field(default=None, description="Accepted; without effect.")
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
