"""From a response's body to what is asked of a model. Pure."""

from __future__ import annotations

from dataclasses import replace

from commonweal.core.completion import Image, Message, Request, Role, Tool, ToolCall
from commonweal.serve.api.chat_request import check_tool_choice, image_of, schema_text, tool_of
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.responses_body import (
    AnyJson,
    CallItem,
    Content,
    InputImage,
    InputText,
    MessageItem,
    OutputItem,
    OutputText,
    Refusal,
    ResponseBody,
    SchemaJson,
)
from commonweal.serve.api.sampling_body import DEFAULT_TOKENS
from commonweal.serve.catalogue import ServedModel


def response_request(body: ResponseBody, model: ServedModel) -> Request:
    """What is asked. Raises ApiError."""
    _refuse_what_needs_memory(body)
    tools = _tools(body)
    choice = body.tool_choice or "auto"
    name = choice if isinstance(choice, str) else choice.name
    check_tool_choice(name, tools)
    temperature = 1.0 if body.temperature is None else float(body.temperature)
    top_p = 1.0 if body.top_p is None else float(body.top_p)
    return Request(
        model=model.name,
        messages=_messages(body),
        max_tokens=body.max_output_tokens or min(model.window, DEFAULT_TOKENS),
        fit=body.max_output_tokens is None,
        temperature=temperature if top_p else 0.0,
        top_p=top_p or 1.0,
        logprobs=(body.top_logprobs or 0) if body.wants_logprobs else None,
        tools=tools,
        tool_choice=name,
        schema=_schema(body),
    )


def _refuse_what_needs_memory(body: ResponseBody) -> None:
    for param in ("previous_response_id", "conversation", "prompt"):
        if getattr(body, param) is not None:
            raise ApiError(
                f"'{param}' is not supported: this server keeps no responses. Send the whole conversation in 'input'.",
                param=param,
                code="unsupported",
            )
    if body.background:
        raise ApiError(
            "'background' is not supported; use /v1/batches for what may wait.",
            param="background",
            code="unsupported",
        )


def _tools(body: ResponseBody) -> tuple[Tool, ...]:
    made = {
        tool.name: tool_of(tool.name, tool.description, tool.parameters, f"tools[{at}]")
        for at, tool in enumerate(body.tools or ())
    }
    if len(made) < len(body.tools or ()):
        raise ApiError("Invalid 'tools': two functions have the same name.", param="tools")
    return tuple(made.values())


def _schema(body: ResponseBody) -> str | None:
    match body.text and body.text.format:
        case AnyJson():
            return '{"type":"object"}'
        case SchemaJson(schema_=schema):
            return schema_text(schema, "text.format.schema")
        case _:
            return None


def _messages(body: ResponseBody) -> tuple[Message, ...]:
    """The turns. A call goes with the assistant's turn before it, as chat templates want it."""
    made: list[Message] = []
    if body.instructions:
        made.append(Message(role="system", content=body.instructions))
    if isinstance(body.input, str):
        return (*made, Message(role="user", content=body.input))
    for at, item in enumerate(body.input):
        match item:
            case MessageItem():
                made.append(_message(item, f"input[{at}]"))
            case CallItem():
                call = ToolCall(id=item.call_id, name=item.name, arguments=item.arguments)
                if not (made and made[-1].role == "assistant"):
                    made.append(Message(role="assistant", content=""))
                made[-1] = replace(made[-1], tool_calls=(*made[-1].tool_calls, call))
            case OutputItem():
                text, images = _content(item.output, f"input[{at}].output")
                if images:
                    raise ApiError(
                        "A function's output cannot have images here.", param=f"input[{at}].output"
                    )
                made.append(Message(role="tool", content=text, tool_call_id=item.call_id))
    if not made:
        raise ApiError("Invalid 'input': it has no message.", param="input")
    return tuple(made)


def _message(item: MessageItem, where: str) -> Message:
    role: Role = "system" if item.role == "developer" else item.role
    text, images = _content(item.content, f"{where}.content")
    if images and role != "user":
        raise ApiError("Only messages of the user can have images.", param=f"{where}.content")
    return Message(role=role, content=text, images=images)


def _content(content: Content, where: str) -> tuple[str, tuple[Image, ...]]:
    if isinstance(content, str):
        return content, ()
    texts: list[str] = []
    images: list[Image] = []
    for at, part in enumerate(content):
        match part:
            case InputText(text=text) | OutputText(text=text):
                texts.append(text)
            case Refusal(refusal=text):
                texts.append(text)
            case InputImage(image_url=url):
                images.append(image_of(url, f"{where}[{at}].image_url"))
    return "\n".join(texts), tuple(images)
