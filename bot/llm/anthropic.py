"""The Anthropic Messages dialect."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import groupby

from bot.clock import Clock
from bot.llm import failures, payload
from bot.llm.answer import ALIVE, Answer
from bot.llm.deadlines import Deadlines
from bot.llm.protocol import Delta, FinishReason, Image, PromptMessage, PromptRole, StreamBroken
from bot.llm.sse import Event
from bot.llm.wire import Wire

API_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 1024
_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSED,
}


class AnthropicModel:
    """A model behind `<base_url>/v1/messages`; a base URL that ends in `/v1` itself is understood."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        clock: Clock,
        api_key: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._model = model
        self._max_tokens = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
        self._temperature = temperature
        self._wire = Wire(
            model=model,
            base_url=base_url.rstrip("/").removesuffix("/v1"),
            headers={"anthropic-version": API_VERSION} | ({"x-api-key": api_key} if api_key else {}),
            clock=clock,
            deadlines=deadlines or Deadlines(),
            optional=frozenset({"temperature"}),
        )

    @property
    def name(self) -> str:
        return self._model

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        system = "\n\n".join(message.text for message in prompt if message.role is PromptRole.SYSTEM)
        return self._wire.stream("/v1/messages", partial(self._compose, system, _alternating(prompt)), read_event)

    async def aclose(self) -> None:
        await self._wire.aclose()

    def _compose(self, system: str, messages: Sequence[Mapping[str, object]], refused: frozenset[str]) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": self._max_tokens,
            "messages": messages,
            "stream": True,
            "system": system or None,
            "temperature": self._temperature,
        }
        return {name: value for name, value in body.items() if value is not None and name not in refused}


def _alternating(prompt: Sequence[PromptMessage]) -> list[dict[str, object]]:
    """Write the dialogue as the API wants it: the user begins, roles alternate, no text is blank."""
    dialogue = [
        message for message in prompt if message.role is not PromptRole.SYSTEM and (message.text.strip() or message.images)
    ]
    turns: list[dict[str, object]] = [
        {"role": role.value, "content": _content(list(said))}
        for role, said in groupby(dialogue, key=lambda message: message.role)
    ]
    if turns and turns[0]["role"] != PromptRole.USER.value:
        # A window may begin with the bot's own words; they are kept, behind the least that a user can say.
        turns.insert(0, {"role": PromptRole.USER.value, "content": "…"})
    return turns


def _content(said: Sequence[PromptMessage]) -> str | list[dict[str, object]]:
    """Write what one side says in a row; each image stands before its message's text, where the model reads it best."""
    if not any(message.images for message in said):
        return "\n\n".join(message.text for message in said)
    blocks: list[dict[str, object]] = []
    for message in said:
        blocks += map(_image_block, message.images)
        if message.text.strip():
            blocks.append({"type": "text", "text": message.text})
    return blocks


def _image_block(image: Image) -> dict[str, object]:
    source = {"type": "base64", "media_type": image.media_type, "data": b64encode(image.data).decode()}
    return {"type": "image", "source": source}


def read_event(answer: Answer, event: Event) -> Iterator[Delta]:
    """Read one event of a stream, or the whole message of a server that does not stream."""
    body = payload.parse(event.data)
    if not isinstance(body, dict):
        raise StreamBroken(f"{answer.asked}: the answer is garbled")
    fields = payload.fields(body)
    if event.name == "error" or failures.is_error(fields):
        raise failures.inside_success(answer.asked, body)
    text = ""
    match fields.get("type"):
        case "message_start":
            _note(answer, payload.fields(fields.get("message")))
        case "content_block_start":
            text = _text(fields.get("content_block"))
        case "content_block_delta":
            text = _text(fields.get("delta"))
        case "message_delta":
            _note(answer, {**payload.fields(fields.get("delta")), "usage": fields.get("usage")})
        case "message_stop":
            answer.complete = True
        case "message":
            text = "".join(map(_text, payload.items(fields.get("content"))))
            _note(answer, fields)
            answer.complete = True
    yield answer.say(text) if text else ALIVE


def _text(block: object) -> str:
    """Read a block or a delta of one; thoughts, signatures, citations and tool input are not shown."""
    fields = payload.fields(block)
    return payload.text(fields.get("text")) if fields.get("type") in ("text", "text_delta") else ""


def _note(answer: Answer, message: payload.Fields) -> None:
    answer.called(payload.text(message.get("model")))
    usage = payload.fields(message.get("usage"))
    answer.counted(
        # What the cache spared was prompt all the same; `input_tokens` leaves it out.
        prompt_tokens=sum(
            payload.count(usage.get(name))
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        ),
        completion_tokens=payload.count(usage.get("output_tokens")),
    )
    reason = payload.text(message.get("stop_reason"))
    if reason == "model_context_window_exceeded":
        answer.overflow()
    elif reason:
        answer.stop(reason, _REASONS)
