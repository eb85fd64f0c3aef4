"""Faults of what a model's server says: the answer itself, in OpenAI's dialect and in Anthropic's."""

import json
from typing import Any

from store import Ending
from tests.fakes.model_server import anthropic_stream, chunk, data, event, openai_stream, refuse, send
from tests.trials.fault import (
    ANTHROPIC,
    BROKEN,
    BUSY,
    DONE,
    HALF,
    HELLO,
    HELLO_THERE,
    HTML,
    LEAK,
    REFUSED,
    REJECTED,
    STOP,
    TOO_LONG,
    TRACE,
    UNAVAILABLE,
    WHOLE,
    Fault,
    error,
    said,
)

Json = Any

_TWO_CHOICES = {
    "choices": [
        {"index": 1, "delta": {"content": ""}, "finish_reason": None},
        {"index": 0, "delta": {"content": " there."}, "finish_reason": None},
    ]
}
_USAGES: tuple[Json, ...] = ("many", -1, 10**30, 1e308, [1], {"prompt_tokens": {}}, None, True)
_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "rm", "arguments": f'{{"{LEAK}":1}}'}}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": LEAK}}
_START, _OPEN, _PING = anthropic_stream()[:3]

CONTENTS = (
    Fault(name="page_with_200", does=send(HTML, content_type="text/html"), shows=REJECTED),
    Fault(name="page_as_a_stream", does=send(HTML), shows=BROKEN),
    Fault(name="traceback_as_json", does=send(TRACE, content_type="application/json"), shows=BROKEN),
    Fault(name="no_type", does=send(*openai_stream(*HELLO_THERE), content_type=""), shows=WHOLE),
    Fault(
        name="another_type",
        does=send(*openai_stream(*HELLO_THERE), content_type="application/octet-stream"),
        shows=WHOLE,
    ),
    Fault(name="no_json", does=send(data(f"{{{LEAK}")), shows=BROKEN),
    Fault(name="no_json_behind_a_word", does=send(HELLO, data(f"{{{LEAK}")), shows=HALF),
    Fault(name="deep_json", does=send(data("[" * 100_000)), shows=BROKEN),
    Fault(name="json_of_another_kind", does=send(data("17"), data('"LEAK"')), shows=BROKEN),
    Fault(
        name="invalid_utf_8",
        does=send(b'data: {"choices":[{"delta":{"content":"Hello\xff there."}}]}\n\n', STOP, DONE),
        shows=said("Hello\ufffd there."),
    ),
    Fault(
        name="half_a_pair",
        does=send('data: {"choices":[{"delta":{"content":"Hello\\ud83d there."}}]}\n\n', STOP, DONE),
        shows=said("Hello\ufffd there."),
    ),
    Fault(name="no_done", does=send(*openai_stream(*HELLO_THERE, done=False)), shows=WHOLE),
    Fault(
        name="no_finish",
        does=send(*openai_stream(*HELLO_THERE, finish=None, usage=False)),
        shows=said("Hello there.", Ending.INTERRUPTED),
    ),
    Fault(name="finish_nobody_knows", does=send(*openai_stream(*HELLO_THERE, finish="eos_token")), shows=WHOLE),
    Fault(name="finish_error", does=send(HELLO, data(chunk(finish="error")), DONE), shows=HALF),
    Fault(
        name="cut_at_its_length",
        does=send(*openai_stream(*HELLO_THERE, finish="length")),
        shows=said("Hello there.", Ending.LENGTH),
    ),
    Fault(
        name="thoughts_up_to_its_length",
        does=send(data(chunk(reasoning=LEAK)), data(chunk(finish="length")), DONE),
        shows=REJECTED,
    ),
    Fault(
        name="filter_behind_a_word",
        does=send(*openai_stream("Hello", finish="content_filter")),
        shows=said("Hello", Ending.REFUSED),
    ),
    Fault(name="filter_without_a_word", does=send(*openai_stream(finish="content_filter")), shows=REFUSED),
    Fault(name="refusal_of_its_own", does=send(data(chunk(refusal=LEAK)), STOP, DONE), shows=REFUSED),
    Fault(name="error_in_the_stream", does=send(data(error())), shows=BROKEN),
    Fault(name="error_of_one_line", does=send(data({"error": LEAK})), shows=BROKEN),
    Fault(name="error_of_a_limit", does=send(data(error(code=429)), DONE), shows=BUSY),
    Fault(name="error_behind_a_word", does=send(HELLO, data(error(code=502)), DONE), shows=HALF),
    Fault(
        name="error_as_a_body",
        does=send(*map(str, [data(error()).removeprefix("data: ")]), content_type="application/json"),
        shows=BROKEN,
    ),
    Fault(name="empty", does=send(*openai_stream()), shows=UNAVAILABLE),
    Fault(name="white_space", does=send(*openai_stream(" ", "\n\n", "\t")), shows=UNAVAILABLE),
    Fault(name="null", does=send(data({"choices": [{"delta": {"content": None}}]}), STOP, DONE), shows=UNAVAILABLE),
    Fault(name="no_choices", does=send(data({"choices": []}), data({"choices": None}), data({}), DONE), shows=BROKEN),
    Fault(
        name="choices_without_delta",
        does=send(data({"choices": [{"index": 0}, 7, None]}), *openai_stream(*HELLO_THERE)),
        shows=WHOLE,
    ),
    Fault(name="choices_out_of_order", does=send(HELLO, data(_TWO_CHOICES), STOP, DONE), shows=WHOLE),
    Fault(name="two_ends", does=send(*openai_stream(*HELLO_THERE), STOP, data(chunk(LEAK)), DONE), shows=WHOLE),
    Fault(
        name="a_tool_nobody_asked_for",
        does=send(data(chunk(tool_calls=[_CALL])), data(chunk(finish="tool_calls")), DONE),
        shows=UNAVAILABLE,
    ),
    Fault(
        name="a_tool_behind_a_word",
        does=send(HELLO, data(chunk(" there.", tool_calls=[_CALL])), data(chunk(finish="tool_calls")), DONE),
        shows=WHOLE,
    ),
    Fault(name="thoughts_alone", does=send(data(chunk(f"<think>{LEAK}</think>")), STOP, DONE), shows=UNAVAILABLE),
    Fault(name="thoughts_without_end", does=send(data(chunk(f"<think>{LEAK}")), STOP, DONE), shows=UNAVAILABLE),
    *(
        Fault(
            name=f"usage_{number}",
            does=send(
                HELLO,
                data(chunk(" there.")),
                STOP,
                data(
                    {
                        "choices": [],
                        "usage": usage
                        if isinstance(usage, dict | list | str | None)
                        else {"prompt_tokens": usage, "completion_tokens": usage},
                    }
                ),
                DONE,
            ),
            shows=WHOLE,
        )
        for number, usage in enumerate(_USAGES)
    ),
    *(
        Fault(
            name=f"name_that_is_no_text_{number}",
            does=send(HELLO, data(json.dumps(chunk(" there.", finish="stop") | {"model": name})), DONE),
            shows=WHOLE,
        )
        for number, name in enumerate(("a\0b", "\ud83d", "\x1b[2J", "x" * 10_000))
    ),
    Fault(
        name="names_of_another_kind",
        does=send(data({"id": 7, "model": {"x": LEAK}, "choices": [{"delta": {"content": "Hello there."}}]}), STOP, DONE),
        shows=WHOLE,
    ),
)

ANTHROPIC_FAULTS = (
    Fault(name="anthropic_overloaded", address=ANTHROPIC, does=refuse(529, OVERLOADED), shows=UNAVAILABLE),
    Fault(name="anthropic_billing", address=ANTHROPIC, does=refuse(402, OVERLOADED), shows=REJECTED),
    Fault(name="anthropic_error_first", address=ANTHROPIC, does=send(event(OVERLOADED)), shows=UNAVAILABLE),
    Fault(
        name="anthropic_error_behind_a_word",
        address=ANTHROPIC,
        does=send(*anthropic_stream("Hello")[:4], event(OVERLOADED)),
        shows=HALF,
    ),
    Fault(
        name="anthropic_no_stop",
        address=ANTHROPIC,
        does=send(*anthropic_stream("Hello", stop=None, done=False)),
        shows=HALF,
    ),
    Fault(
        name="anthropic_no_message_stop",
        address=ANTHROPIC,
        does=send(*anthropic_stream(*HELLO_THERE, done=False)),
        shows=WHOLE,
    ),
    Fault(name="anthropic_refusal", address=ANTHROPIC, does=send(*anthropic_stream(stop="refusal")), shows=REFUSED),
    Fault(
        name="anthropic_refusal_behind_a_word",
        address=ANTHROPIC,
        does=send(*anthropic_stream("Hello", stop="refusal")),
        shows=said("Hello", Ending.REFUSED),
    ),
    Fault(
        name="anthropic_full_context",
        address=ANTHROPIC,
        does=send(*anthropic_stream(stop="model_context_window_exceeded")),
        shows=TOO_LONG,
    ),
    Fault(
        name="anthropic_a_new_reason",
        address=ANTHROPIC,
        does=send(*anthropic_stream(*HELLO_THERE, stop="tired")),
        shows=WHOLE,
    ),
    Fault(name="anthropic_empty", address=ANTHROPIC, does=send(*anthropic_stream()), shows=UNAVAILABLE),
    Fault(name="anthropic_pings_alone", address=ANTHROPIC, does=send(_START, *[_PING] * 5), shows=BROKEN),
    Fault(
        name="anthropic_unknown_events",
        address=ANTHROPIC,
        does=send(event({"type": "weather", "text": LEAK}), *anthropic_stream(*HELLO_THERE)),
        shows=WHOLE,
    ),
    Fault(name="anthropic_page", address=ANTHROPIC, does=refuse(502, HTML, html=True), shows=UNAVAILABLE),
)
CONTENT = (*CONTENTS, *ANTHROPIC_FAULTS)
