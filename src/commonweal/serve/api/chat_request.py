"""From a chat's body to what is asked of a model. Pure: no input or output, and a refusal names the field."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from commonweal.core.completion import Image, Message, Request, Role, Tool, ToolCall
from commonweal.serve.api.chat_body import (
    ChatBody,
    ChatMessage,
    ChatTool,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    RefusalPart,
    ResponseFormat,
    TextPart,
    ToolChoice,
)
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.sampling_body import DEFAULT_TOKENS, sampling_of
from commonweal.serve.catalogue import ServedModel

MOST_STOPS = 4
DEEPEST_SCHEMA = 64
LARGEST_SCHEMA = 256 * 1024

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,", re.IGNORECASE)
_RESERVED = frozenset({"none", "auto", "required"})
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def chat_request(body: ChatBody, model: ServedModel) -> Request:
    """What is asked. Raises ApiError."""
    if body.top_logprobs and not body.logprobs:
        raise ApiError(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", param="top_logprobs"
        )
    tools = tools_of(body.tools or ())
    limit = body.max_completion_tokens or body.max_tokens
    return Request(
        model=model.name,
        messages=messages_of(body.messages),
        max_tokens=limit or min(model.window, DEFAULT_TOKENS),
        fit=limit is None,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        tools=tools,
        tool_choice=tool_choice_of(body.tool_choice, tools),
        schema=schema_of(body.response_format),
        **sampling_of(body, most_stops=MOST_STOPS),
    )


def messages_of(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    return tuple(_message(message, f"messages[{at}]") for at, message in enumerate(messages))


def _message(message: ChatMessage, where: str) -> Message:
    role = _ROLES[message.role]
    text, images = _content(message, where)
    if images and role != "user":
        raise ApiError(
            f"Invalid '{where}.content': only messages of the user can have images.", param=f"{where}.content"
        )
    if role == "tool" and not message.tool_call_id:
        raise ApiError(
            f"Missing parameter '{where}.tool_call_id': messages with role 'tool' must have a 'tool_call_id'.",
            param=f"{where}.tool_call_id",
            code="missing_required_parameter",
        )
    if message.tool_calls and role != "assistant":
        raise ApiError(
            f"Invalid '{where}.tool_calls': only an assistant calls tools.", param=f"{where}.tool_calls"
        )
    if message.content is None and not message.tool_calls and message.refusal is None:
        raise ApiError(
            f"Missing required parameter: '{where}.content'.",
            param=f"{where}.content",
            code="missing_required_parameter",
        )
    return Message(
        role=role,
        content=text or message.refusal or "",
        images=images,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in message.tool_calls or ()
        ),
        tool_call_id=message.tool_call_id,
    )


def _content(message: ChatMessage, where: str) -> tuple[str, tuple[Image, ...]]:
    """The text (parts are joined by line breaks) and the pictures."""
    content = message.content
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    images: list[Image] = []
    for at, part in enumerate(content):
        match part:
            case TextPart():
                texts.append(part.text)
            case RefusalPart():
                texts.append(part.refusal)
            case ImagePart():
                images.append(image_of(part.image_url.url, f"{where}.content[{at}].image_url.url"))
    return "\n".join(texts), tuple(images)


def image_of(url: str, param: str) -> Image:
    """The picture within a data: URL. An address is refused: the hub fetches nothing that a stranger names."""
    found = _DATA_URL.match(url)
    if found is None:
        raise ApiError(
            f"Invalid '{param}': images must be given as data: URLs of image/png, image/jpeg, image/webp or image/gif "
            "in base64; this server never fetches an image.",
            param=param,
            code="invalid_image_url",
        )
    try:
        data = base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(f"Invalid '{param}': not base64.", param=param, code="invalid_base64") from None
    return Image(data=data, media_type=found[1].lower())


def tools_of(tools: Sequence[ChatTool]) -> tuple[Tool, ...]:
    """The tools, each of a name of its own."""
    made: dict[str, Tool] = {}
    for at, tool in enumerate(tools):
        made[tool.function.name] = tool_of(
            tool.function.name, tool.function.description, tool.function.parameters, f"tools[{at}].function"
        )
    if len(made) < len(tools):
        raise ApiError("Invalid 'tools': two functions have the same name.", param="tools")
    return tuple(made.values())


def tool_of(name: str, description: str | None, parameters: Mapping[str, Any] | None, where: str) -> Tool:
    if name in _RESERVED:
        raise ApiError(f"Invalid '{where}.name': '{name}' is reserved.", param=f"{where}.name")
    schema = dict(parameters) if parameters else {"type": "object", "properties": {}}
    schema_text(schema, f"{where}.parameters")
    return Tool(name=name, description=description or "", parameters=schema)


def tool_choice_of(choice: ToolChoice | None, tools: Sequence[Tool]) -> str:
    """none, auto, required, or a tool's name."""
    if choice is None:
        return "auto"
    name = choice.function.name if isinstance(choice, NamedTool) else choice
    check_tool_choice(name, tools)
    return name


def check_tool_choice(name: str, tools: Sequence[Tool]) -> None:
    if name in ("none", "auto") and not tools:
        return
    if not tools:
        raise ApiError("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if name not in _RESERVED and name not in {tool.name for tool in tools}:
        raise ApiError(f"Tool choice '{name[:64]}' not found in 'tools' parameter.", param="tool_choice")


def schema_of(wanted: ResponseFormat | None) -> str | None:
    """The text of the JSON schema that an answer must fit."""
    match wanted:
        case JsonObjectFormat():
            return '{"type":"object"}'
        case JsonSchemaFormat():
            where = "response_format.json_schema.schema"
            if wanted.json_schema.schema_ is None:
                raise ApiError(
                    f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter"
                )
            return schema_text(wanted.json_schema.schema_, where)
        case _:
            return None


def schema_text(schema: Mapping[str, Any], param: str) -> str:
    """A schema as text, of a size and depth that a grammar can be made from."""
    if _deeper_than(schema, DEEPEST_SCHEMA):
        raise ApiError(f"Invalid '{param}': nested deeper than {DEEPEST_SCHEMA} levels.", param=param)
    text = orjson.dumps(schema)
    if len(text) > LARGEST_SCHEMA:
        raise ApiError(f"Invalid '{param}': larger than {LARGEST_SCHEMA} bytes.", param=param)
    return text.decode()


def _deeper_than(value: object, levels: int) -> bool:
    layer: list[object] = [value]
    for _ in range(levels):
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        layer = inner
    return True
