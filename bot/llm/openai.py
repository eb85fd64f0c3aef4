"""The OpenAI Chat Completions dialect, as OpenAI and everybody who imitates it speak it."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from bot.clock import Clock
from bot.llm import failures, payload
from bot.llm.answer import ALIVE, Answer
from bot.llm.deadlines import Deadlines
from bot.llm.protocol import Delta, FinishReason, Image, PromptMessage, StreamBroken
from bot.llm.sse import Event
from bot.llm.wire import Wire

_REASONS = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.REFUSED,
}
_OPTIONAL = frozenset({"max_tokens", "max_completion_tokens", "temperature", "stream_options"})


class OpenAIModel:
    """A model behind `<base_url>/chat/completions`; `base_url` usually ends in `/v1`."""

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
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._wire = Wire(
            model=model,
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            clock=clock,
            deadlines=deadlines or Deadlines(),
            optional=_OPTIONAL,
        )

    @property
    def name(self) -> str:
        return self._model

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        messages = [{"role": message.role.value, "content": _content(message)} for message in prompt]
        return self._wire.stream("/chat/completions", partial(self._compose, messages), read_event)

    async def aclose(self) -> None:
        await self._wire.aclose()

    def _compose(self, messages: Sequence[Mapping[str, object]], refused: frozenset[str]) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": self._temperature,
            # Local servers know only the old name, OpenAI's newer models only the new one.
            "max_completion_tokens" if "max_tokens" in refused else "max_tokens": self._max_tokens,
        }
        return {name: value for name, value in body.items() if value is not None and name not in refused}


def _content(message: PromptMessage) -> str | list[dict[str, object]]:
    """Write what a message says: as a string, since many servers know no parts, unless images go with it."""
    if not message.images:
        return message.text
    return [{"type": "text", "text": message.text}, *map(_image_part, message.images)]


def _image_part(image: Image) -> dict[str, object]:
    url = f"data:{image.media_type};base64,{b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def read_event(answer: Answer, event: Event) -> Iterator[Delta]:
    """Read one event of a stream, or the whole completion of a server that does not stream."""
    if event.data.strip() == "[DONE]":
        answer.complete = True
        return
    body = payload.parse(event.data)
    if event.name == "error" or isinstance(body, list) or failures.is_error(payload.fields(body)):
        raise failures.inside_success(answer.asked, body)
    if not isinstance(body, dict):
        raise StreamBroken(f"{answer.asked}: the answer is garbled")
    chunk = payload.fields(body)
    answer.called(payload.text(chunk.get("model")))
    usage = payload.fields(chunk.get("usage"))
    answer.counted(
        prompt_tokens=payload.count(usage.get("prompt_tokens")),
        completion_tokens=payload.count(usage.get("completion_tokens")),
    )
    said = False
    for choice in map(payload.fields, payload.items(chunk.get("choices"))):
        delta = payload.fields(choice.get("delta") or choice.get("message"))
        text = _text(delta.get("content"))
        if text:
            said = True
            yield answer.say(text)
        if payload.text(delta.get("refusal")):
            answer.refuse()
        reason = payload.text(choice.get("finish_reason"))
        if reason == "error":  # OpenRouter
            raise StreamBroken(f"{answer.asked}: the provider broke off")
        if reason:
            answer.stop(reason, _REASONS)
    if not said:
        yield ALIVE


def _text(content: object) -> str:
    """Read a delta's content: a string, or Mistral's list of parts, of which thoughts are not shown."""
    parts = map(payload.fields, payload.items(content))
    return payload.text(content) or "".join(payload.text(part.get("text")) for part in parts if part.get("type") == "text")
