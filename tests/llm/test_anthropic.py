"""The Anthropic dialect against a server that speaks and breaks its wire protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from bot.llm.anthropic import AnthropicModel
from bot.llm.protocol import (
    Alive,
    ContentRefused,
    FinishReason,
    Image,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    PromptTooLong,
    StreamBroken,
    Text,
    Usage,
)
from tests.fakes.clock import FakeClock
from tests.fakes.model_server import CUT, Behaviour, ModelServer, anthropic_stream, event, refuse, say, send
from tests.llm.asking import HELLO, Asked, ask, finish_of, text_of, until

pytestmark = pytest.mark.anyio
KEY = "sk-ant-very-secret"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


@asynccontextmanager
async def model_at(server: ModelServer, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[AnthropicModel]:
    settings = {"base_url": server.url, "api_key": KEY} | settings
    model = AnthropicModel(model="m", clock=clock or FakeClock(), **settings)
    try:
        yield model
    finally:
        await model.aclose()


async def answer(server: ModelServer, behaviour: Behaviour) -> tuple[str, FinishReason, Usage]:
    server.plan(behaviour)
    async with model_at(server) as model:
        deltas = await ask(model)
    finish = finish_of(deltas)
    return text_of(deltas), finish.reason, finish.usage


async def failure(server: ModelServer, behaviour: Behaviour) -> LLMError:
    server.plan(behaviour)
    async with model_at(server) as model:
        with pytest.raises(LLMError) as caught:
            await ask(model)
    assert KEY not in str(caught.value)
    return caught.value


def user(text: str, *images: Image) -> PromptMessage:
    return PromptMessage(role=PromptRole.USER, text=text, images=images)


def bot(text: str) -> PromptMessage:
    return PromptMessage(role=PromptRole.ASSISTANT, text=text)


def system(text: str) -> PromptMessage:
    return PromptMessage(role=PromptRole.SYSTEM, text=text)


async def test_an_answer_streams_as_deltas_and_one_finish(server: ModelServer) -> None:
    server.plan(say("Hel", "lo"))
    async with model_at(server) as model:
        deltas = await ask(model)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == ["Hel", "lo"]
    finish = finish_of(deltas)
    usage = Usage(prompt_tokens=11, completion_tokens=7)
    assert (finish.reason, finish.usage, finish.model) == (FinishReason.STOP, usage, "fake-model")


async def test_the_request_has_the_system_prompt_on_top_and_alternating_roles(server: ModelServer) -> None:
    prompt = [system("Be kind."), user("a"), user("b"), bot("c"), bot("d"), system("Be brief."), user(" \n"), user("e")]
    async with model_at(server, temperature=0.3) as model:
        await ask(model, prompt)
    (seen,) = server.requests
    assert seen.path == "/v1/messages"
    assert seen.body == {
        "model": "m",
        "max_tokens": 1024,
        "system": "Be kind.\n\nBe brief.",
        "messages": [
            {"role": "user", "content": "a\n\nb"},
            {"role": "assistant", "content": "c\n\nd"},
            {"role": "user", "content": "e"},
        ],
        "stream": True,
        "temperature": 0.3,
    }
    assert seen.headers["x-api-key"] == KEY
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers


async def test_images_stand_before_the_text_of_their_message(server: ModelServer) -> None:
    drawing, photo = Image(media_type="image/png", data=b"\x89PNG\xff"), Image(media_type="image/webp", data=b"\xff\xd8")
    prompt = [user("Hi"), bot("Hello!"), user("Look:"), user("Which is older?", drawing, photo), user(" \n", photo)]
    async with model_at(server) as model:
        await ask(model, prompt)
    shown_drawing, shown_photo = (
        {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
        for media_type, data in (("image/png", "iVBOR/8="), ("image/webp", "/9g="))
    )
    assert server.bodies[0]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                shown_drawing,
                shown_photo,
                {"type": "text", "text": "Which is older?"},
                shown_photo,
            ],
        },
    ]


async def test_a_window_that_begins_with_the_bot_still_begins_with_a_user(server: ModelServer) -> None:
    async with model_at(server, max_tokens=9, base_url=f"{server.url}/v1/") as model:
        await ask(model, [bot("Hello!"), user("Hi")])
    (seen,) = server.requests
    assert seen.path == "/v1/messages"
    assert [turn["role"] for turn in seen.body["messages"]] == ["user", "assistant", "user"]
    assert seen.body["max_tokens"] == 9
    assert "system" not in seen.body
    assert "temperature" not in seen.body


async def test_thoughts_pings_tools_and_the_unknown_are_signs_of_life_and_never_shown(server: ModelServer) -> None:
    start, _, *rest = anthropic_stream("Yes")
    secret = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "let me see"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "tomorrow", "text": "no"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "ping"},
        {"type": "tomorrow", "text": "no"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Oh. "}},
    ]
    server.plan(send(": comment\n\n", start, *map(event, secret), *rest))
    async with model_at(server) as model:
        deltas = await ask(model)
    assert text_of(deltas) == "Oh. Yes"
    assert [type(delta) for delta in deltas[:11]] == [Alive] * 11


async def test_usage_counts_what_the_cache_spared_and_takes_the_last_total(server: ModelServer) -> None:
    events = [
        {
            "type": "message_start",
            "message": {
                "usage": {
                    "input_tokens": 5,
                    "cache_read_input_tokens": 100,
                    "cache_creation_input_tokens": None,
                    "output_tokens": 1,
                }
            },
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    usage = Usage(prompt_tokens=105, completion_tokens=9)
    assert await answer(server, send(*map(event, events))) == ("Hi", FinishReason.STOP, usage)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("refusal", FinishReason.REFUSED),
        ("tomorrow", FinishReason.STOP),
    ],
)
async def test_stop_reasons_are_read(server: ModelServer, said: str, reason: FinishReason) -> None:
    assert (await answer(server, send(*anthropic_stream("Hi", stop=said))))[1] is reason


@pytest.mark.parametrize(
    ("said", "kind"),
    [("refusal", ContentRefused), ("model_context_window_exceeded", PromptTooLong), ("tomorrow", StreamBroken)],
)
async def test_a_stop_without_text_says_why(server: ModelServer, said: str, kind: type[LLMError]) -> None:
    assert type(await failure(server, send(*anthropic_stream(stop=said)))) is kind


async def test_an_empty_end_of_turn_is_a_finish_without_text(server: ModelServer) -> None:
    assert (await answer(server, send(*anthropic_stream())))[:2] == ("", FinishReason.STOP)


async def test_an_end_without_stop_reason_is_broken_and_what_was_said_is_out(server: ModelServer) -> None:
    for then in ("end", "cut"):
        server.plan(say("Hel", then=then))
        async with model_at(server) as model:
            asked = Asked(model)
            with pytest.raises(StreamBroken):
                await asked.task
        assert asked.text == "Hel"


async def test_a_missing_message_stop_after_the_stop_reason_is_fine(server: ModelServer) -> None:
    assert (await answer(server, send(*anthropic_stream("Hi", done=False))))[0] == "Hi"
    assert (await answer(server, send(*anthropic_stream("Hi", done=False), CUT)))[0] == "Hi"


@pytest.mark.parametrize(
    ("kind_of_error", "kind"),
    [
        ("overloaded_error", LLMUnavailable),
        ("api_error", StreamBroken),
        ("rate_limit_error", LLMRateLimited),
        ("authentication_error", LLMRejected),
        ("billing_error", LLMRejected),
        ("tomorrow", StreamBroken),
    ],
)
async def test_an_error_event_is_an_error(server: ModelServer, kind_of_error: str, kind: type[LLMError]) -> None:
    start, *rest = anthropic_stream("Hi")
    error = event({"type": "error", "error": {"type": kind_of_error, "message": "x"}})
    assert type(await failure(server, send(start, error))) is kind
    assert type(await failure(server, send(start, *rest[:3], error))) is StreamBroken


async def test_malformed_json_is_broken(server: ModelServer) -> None:
    assert type(await failure(server, send("event: message_start\ndata: {oops\n\n"))) is StreamBroken
    assert type(await failure(server, send("data: [DONE]\n\n"))) is StreamBroken


async def test_a_whole_message_instead_of_a_stream_is_an_answer(server: ModelServer) -> None:
    body = {
        "type": "message",
        "model": "fake-model",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    whole = send(json.dumps(body), content_type="application/json")
    assert await answer(server, whole) == ("Hi", FinishReason.STOP, Usage(prompt_tokens=3, completion_tokens=2))


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}, PromptTooLong),
        (400, {"type": "invalid_request_error", "message": "messages: roles must alternate"}, LLMRejected),
        (401, {"type": "authentication_error", "message": "invalid x-api-key"}, LLMRejected),
        (402, {"type": "billing_error"}, LLMRejected),
        (413, {"type": "request_too_large"}, PromptTooLong),
        (429, {"type": "rate_limit_error"}, LLMRateLimited),
        (429, {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}, LLMRejected),
        (500, {"type": "api_error"}, LLMUnavailable),
        (529, {"type": "overloaded_error"}, LLMUnavailable),
    ],
)
async def test_statuses_are_read(server: ModelServer, status: int, error: object, kind: type[LLMError]) -> None:
    assert type(await failure(server, refuse(status, {"type": "error", "error": error, "request_id": "r"}))) is kind


async def test_a_model_without_temperature_is_asked_without(server: ModelServer) -> None:
    message = "`temperature` is deprecated for this model."
    server.plan(refuse(400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}))
    async with model_at(server, temperature=0.3) as model:
        await ask(model)
        await ask(model)
    assert ["temperature" in body for body in server.bodies] == [True, False, False]


async def test_a_stall_ends_at_its_deadline(server: ModelServer) -> None:
    clock = FakeClock()
    server.plan(say("Hel", then="stall"))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: asked.text == "Hel")
        await asyncio.sleep(0.02)
        await clock.advance(timedelta(seconds=20.1))
        with pytest.raises(LLMTimeout):
            await asked.task
    await until(lambda: server.left, "the hang-up")


async def test_leaving_the_stream_hangs_up(server: ModelServer) -> None:
    server.plan(say("Hel", then="stall"))
    async with model_at(server) as model, model.stream(HELLO) as deltas:
        await anext(deltas)
    await until(lambda: server.left, "the hang-up")
