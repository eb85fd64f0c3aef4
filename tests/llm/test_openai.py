"""The OpenAI dialect against a server that speaks and breaks its wire protocol."""

import json
from collections.abc import AsyncIterator

import pytest

from bot.llm.openai import OpenAIModel
from bot.llm.protocol import (
    Alive,
    ContentRefused,
    FinishReason,
    Image,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    PromptTooLong,
    StreamBroken,
    Text,
    Usage,
)
from tests.fakes.clock import FakeClock
from tests.fakes.model_server import (
    CUT,
    USAGE,
    Behaviour,
    ModelServer,
    chunk,
    data,
    openai_stream,
    refuse,
    say,
    send,
)
from tests.llm.asking import Asked, ask, finish_of, text_of
from tests.llm.openai_model import DONE, HEAD, KEY, STOP, answer, failure, model_at

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


COUNTED = Usage(prompt_tokens=11, completion_tokens=7)


async def test_an_answer_streams_as_deltas_and_one_finish(server: ModelServer) -> None:
    server.plan(say("Hel", "lo"))
    async with model_at(server) as model:
        deltas = await ask(model)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == ["Hel", "lo"]
    finish = finish_of(deltas)
    assert (finish.reason, finish.usage, finish.model) == (FinishReason.STOP, COUNTED, "fake-model")


async def test_the_request_holds_prompt_and_settings_and_the_key_only_as_header(server: ModelServer) -> None:
    prompt = [PromptMessage(role=role, text=f"{role} says 日本") for role in PromptRole]
    async with model_at(server, max_tokens=50, temperature=0.3) as model:
        await ask(model, prompt)
    (seen,) = server.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "m",
        "messages": [{"role": role.value, "content": f"{role} says 日本"} for role in PromptRole],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.3,
        "max_tokens": 50,
    }
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["accept-encoding"] == "identity"


async def test_settings_that_are_not_set_are_not_sent(server: ModelServer) -> None:
    model = OpenAIModel(base_url=server.openai_url + "/", model="m", clock=FakeClock())
    await ask(model)
    await model.aclose()
    assert server.requests[0].path == "/v1/chat/completions"
    assert "authorization" not in server.requests[0].headers
    assert set(server.bodies[0]) == {"model", "messages", "stream", "stream_options"}


async def test_images_go_behind_the_text_of_their_message_and_other_messages_stay_strings(server: ModelServer) -> None:
    drawing, photo = Image(media_type="image/png", data=b"\x89PNG\xff"), Image(media_type="image/jpeg", data=b"\xff\xd8")
    shown = PromptMessage(role=PromptRole.USER, text="What is this?", images=(drawing, photo))
    async with model_at(server) as model:
        await ask(model, [PromptMessage(role=PromptRole.USER, text="Look:"), shown])
    assert server.bodies[0]["messages"] == [
        {"role": "user", "content": "Look:"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR/8="}},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9g="}},
            ],
        },
    ]


# What a stream may look like


async def test_comments_and_thoughts_are_signs_of_life_and_never_shown(server: ModelServer) -> None:
    server.plan(
        send(
            ": OPENROUTER PROCESSING\n\n",
            data(chunk(reasoning_content="let me see")),
            data(chunk(reasoning="hm")),
            HEAD,
            data(chunk("Yes")),
            STOP,
            DONE,
        )
    )
    async with model_at(server) as model:
        deltas = await ask(model)
    assert [type(delta) for delta in deltas[:5]] == [Alive, Alive, Alive, Alive, Text]
    assert text_of(deltas) == "Yes"


async def test_thoughts_in_the_content_are_not_shown(server: ModelServer) -> None:
    text, _, _ = await answer(server, say("<th", "ink>secret", "</thi", "nk>\n\nYes"))
    assert text == "Yes"


async def test_chunks_without_choices_or_delta_say_nothing(server: ModelServer) -> None:
    text, _, _ = await answer(
        server,
        send(
            data({"choices": [], "prompt_filter_results": []}),
            data({"choices": None}),
            data({"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}),
            data({"choices": [{"delta": {"content": None}}]}),
            data({"id": "x"}),
            data(chunk("Hi")),
            STOP,
            DONE,
        ),
    )
    assert text == "Hi"


@pytest.mark.parametrize(
    ("parts", "usage"),
    [
        ([HEAD, data(chunk("Hi")), STOP, DONE], Usage()),
        ([data(chunk("Hi") | {"usage": None}), STOP, data({"choices": [], "usage": USAGE}), DONE], COUNTED),
        ([data(chunk("Hi")), data(chunk(finish="stop") | {"usage": USAGE}), DONE], COUNTED),
        (
            [
                data(chunk("Hi") | {"usage": {"prompt_tokens": 11, "completion_tokens": 1}}),
                data(chunk(finish="stop") | {"usage": USAGE}),
                data({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
            ],
            COUNTED,
        ),
        ([data(chunk("Hi")), data(chunk(finish="stop") | {"usage": {"prompt_tokens": "many"}}), DONE], Usage()),
        ([data(chunk("Hi")), data(chunk(finish="stop") | {"usage": {"prompt_tokens": 10**30}}), DONE], Usage()),
    ],
)
async def test_usage_may_come_anywhere_or_not_at_all(server: ModelServer, parts: list[str], usage: Usage) -> None:
    assert await answer(server, send(*parts)) == ("Hi", FinishReason.STOP, usage)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.REFUSED),
        ("tool_calls", FinishReason.STOP),
        ("something_new", FinishReason.STOP),
    ],
)
async def test_finish_reasons_are_read(server: ModelServer, said: str, reason: FinishReason) -> None:
    assert (await answer(server, send(*openai_stream("Hi", finish=said))))[1] is reason


async def test_a_refusal_is_not_shown(server: ModelServer) -> None:
    refusal = data(chunk(refusal="I can't help with that"))
    assert await answer(server, send(data(chunk("Well")), refusal, STOP)) == ("Well", FinishReason.REFUSED, Usage())
    assert type(await failure(server, send(HEAD, refusal, STOP, DONE))) is ContentRefused


async def test_a_filter_before_any_text_is_content_refused(server: ModelServer) -> None:
    assert type(await failure(server, send(HEAD, data(chunk(finish="content_filter")), DONE))) is ContentRefused


async def test_an_unknown_reason_without_text_is_no_answer(server: ModelServer) -> None:
    assert type(await failure(server, send(HEAD, data(chunk(finish="something_new")), DONE))) is StreamBroken


async def test_line_ends_and_separators_inside_json_do_not_tear_a_stream(server: ModelServer) -> None:
    stream = "".join(openai_stream("a\u2028b\u2029c\u0085d")).replace("\n", "\r\n")
    assert (await answer(server, send(stream)))[0] == "a\u2028b\u2029c\u0085d"


async def test_a_stream_in_single_bytes_is_the_same(server: ModelServer) -> None:
    stream = "".join(openai_stream("Grüße 👩‍👩‍👧")).encode()
    parts = [bytes([byte]) for byte in stream]
    assert await answer(server, send(*parts)) == ("Grüße 👩‍👩‍👧", FinishReason.STOP, COUNTED)


async def test_a_missing_done_after_the_finish_reason_is_fine(server: ModelServer) -> None:
    assert (await answer(server, send(data(chunk("Hi")), STOP)))[0] == "Hi"
    assert (await answer(server, send(data(chunk("Hi")), STOP, CUT)))[0] == "Hi"


async def test_content_as_a_list_of_parts_is_read(server: ModelServer) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]
    assert (await answer(server, send(data({"choices": [{"delta": {"content": parts}}]}), STOP)))[0] == "Hi"


async def test_a_whole_completion_instead_of_a_stream_is_an_answer(server: ModelServer) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": USAGE}
    whole = send("\n\n", json.dumps(body, indent=2), content_type="application/json; charset=utf-8")
    assert await answer(server, whole) == ("Hi", FinishReason.STOP, COUNTED)


# How it breaks


async def test_an_end_without_a_finish_reason_is_broken_and_what_was_said_is_out(server: ModelServer) -> None:
    for then in ("end", "cut"):
        server.plan(say("Hel", then=then))
        async with model_at(server) as model:
            asked = Asked(model)
            with pytest.raises(StreamBroken):
                await asked.task
        assert asked.text == "Hel"


async def test_done_without_a_finish_reason_is_broken(server: ModelServer) -> None:
    assert type(await failure(server, send(data(chunk("Hi")), DONE))) is StreamBroken


async def test_a_cut_inside_a_character_is_broken(server: ModelServer) -> None:
    assert type(await failure(server, send(HEAD, data(chunk("é")).encode()[:-8], CUT))) is StreamBroken


@pytest.mark.parametrize("garbled", ["data: {not json\n\n", "data: 7\n\n", "data: null\n\n", 'data: "text"\n\n'])
async def test_malformed_json_is_broken(server: ModelServer, garbled: str) -> None:
    assert type(await failure(server, send(HEAD, garbled, data(chunk("Hi")), STOP, DONE))) is StreamBroken


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "boom", "type": "server_error", "code": None}}, StreamBroken),
        ({"error": "boom"}, StreamBroken),
        ({"error": {"code": 429, "message": "slow down"}}, LLMRateLimited),
        ({"error": {"code": "insufficient_quota"}}, LLMRejected),
        ({"error": {"code": 502}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, LLMUnavailable),
        ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, StreamBroken),
        ({"object": "error", "message": "maximum context length is 9", "code": 400}, PromptTooLong),
        ([{"error": {"code": 503}}], LLMUnavailable),
    ],
)
async def test_an_error_inside_a_200_is_an_error(server: ModelServer, body: object, kind: type[LLMError]) -> None:
    assert type(await failure(server, send(HEAD, data(body), DONE))) is kind
    assert type(await failure(server, send(json.dumps(body), content_type="application/json"))) is kind
    # Once there is text it is a broken stream, whatever the reason.
    assert type(await failure(server, send(data(chunk("Hi")), data(body), DONE))) is StreamBroken


async def test_a_web_page_is_rejected_and_not_quoted(server: ModelServer) -> None:
    page = "<html><body>Please log in</body></html>"
    for behaviour in (send(page, content_type="text/html; charset=utf-8"), refuse(404, page, html=True)):
        error = await failure(server, behaviour)
        assert type(error) is LLMRejected
        assert "LLM_BASE_URL" in str(error)
        assert "log in" not in str(error)
    assert type(await failure(server, refuse(502, page, html=True))) is LLMUnavailable
    assert type(await failure(server, send(page))) is StreamBroken  # a page that calls itself a stream


# Parameters that a server does not know


def unsupported(parameter: str) -> Behaviour:
    return refuse(400, {"error": {"code": "unsupported_parameter", "param": parameter, "message": "Unsupported"}})


async def test_refused_parameters_are_renamed_or_dropped_once_and_for_good(server: ModelServer) -> None:
    server.plan(unsupported("max_tokens"), unsupported("temperature"), unsupported("stream_options"))
    async with model_at(server, max_tokens=50, temperature=0.3) as model:
        assert text_of(await ask(model)) == "You asked: Hello?"
        await ask(model)
    assert len(server.requests) == 5
    assert all(body["messages"] == server.bodies[0]["messages"] for body in server.bodies)
    for body in server.bodies[3:]:
        assert set(body) == {"model", "messages", "stream", "max_completion_tokens"}
        assert body["max_completion_tokens"] == 50


async def test_a_server_that_knows_no_limit_at_all_gets_none(server: ModelServer) -> None:
    server.plan(unsupported("max_tokens"), unsupported("max_completion_tokens"))
    async with model_at(server, max_tokens=50) as model:
        await ask(model)
    assert set(server.bodies[2]) == {"model", "messages", "stream", "stream_options"}


async def test_a_server_that_refuses_what_was_not_sent_is_believed_to_mean_no(server: ModelServer) -> None:
    server.plan(unsupported("temperature"))
    async with model_at(server) as model:
        with pytest.raises(LLMRejected):
            await ask(model)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a\0b", "ab"), ("\ud83d", "m"), ("\x1b[2J\n", "[2J"), ("x" * 1000, "x" * 100), ("\u202egpt", "gpt")],
)
async def test_of_the_name_that_a_server_gives_itself_what_is_text_is_kept(
    server: ModelServer, name: str, kept: str
) -> None:
    server.plan(send(data(json.dumps(chunk("Hi", finish="stop") | {"model": name})), DONE))
    async with model_at(server) as model:
        assert finish_of(await ask(model)).model == kept
