"""What refusals mean, and that nothing of what servers say leaks into the errors."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.llm.failures import AskedToWait, ParameterRefused, inside_success, refusal
from bot.llm.protocol import (
    ContentRefused,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMUnavailable,
    PromptTooLong,
    StreamBroken,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
OPTIONAL = ("max_tokens", "max_completion_tokens", "temperature", "stream_options")


def read(status: int, body: object = None, headers: dict[str, str] | None = None) -> LLMError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal("model", status=status, headers=headers or {}, body=raw, now=NOW, optional=OPTIONAL)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (307, LLMRejected, False),
        (400, LLMRejected, False),
        (401, LLMRejected, False),
        (402, LLMRejected, False),
        (403, LLMRejected, False),
        (404, LLMRejected, False),
        (408, LLMUnavailable, True),
        (409, LLMUnavailable, True),
        (413, PromptTooLong, False),
        (422, LLMRejected, False),
        (429, LLMRateLimited, True),
        (500, LLMUnavailable, True),
        (502, LLMUnavailable, True),
        (503, LLMUnavailable, True),
        (504, LLMUnavailable, True),
        (529, LLMUnavailable, True),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[LLMError], retryable: bool) -> None:
    error = read(status, b"<html>nginx</html>")
    assert type(error) is kind
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Invalid content type. image_url is only supported by certain models."),
        (422, "unknown variant `image_url`, expected `text`"),
        (400, "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum"),
        (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
    ],
)
def test_a_refused_image_names_its_setting_and_is_not_sent_again(status: int, message: str) -> None:
    error = read(status, {"error": {"type": "invalid_request_error", "param": "messages", "message": message}})
    assert type(error) is LLMRejected
    assert "LLM_IMAGES=off" in str(error)


def test_a_server_that_breaks_over_an_image_is_asked_again() -> None:
    assert type(read(500, {"error": {"message": "image worker crashed"}})) is LLMUnavailable


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "too long"}}),
        (400, {"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096}}),
        (
            400,
            {
                "error": {
                    "type": "BadRequestError",
                    "param": "input_tokens",
                    "code": 400,
                    "message": "context length is only 9",
                }
            },
        ),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
        (400, {"object": "error", "message": "This model's maximum context length is 8192 tokens", "code": 400}),
        (400, {"message": "Prompt contains 9 tokens, too large for model with 8"}),
        (403, {"error": {"message": "Please reduce the length of the messages"}}),
        (500, {"error": {"code": "context_length_exceeded"}}),
    ],
)
def test_a_full_context_is_recognised_in_every_dialect(status: int, body: object) -> None:
    assert type(read(status, body)) is PromptTooLong


def test_too_many_tokens_a_minute_is_a_rate_limit_and_no_long_prompt() -> None:
    assert type(read(429, {"error": {"message": "Too many tokens per minute"}})) is LLMRateLimited


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota"},
        {"type": "insufficient_quota", "code": None},
        {"code": "credit_balance_exhausted"},
        {"code": "organization_spend_limit_exceeded"},
        {"code": "project_spend_limit_exceeded"},
        {"code": "organization_usage_limit_exceeded"},
        {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
    ],
)
def test_a_429_for_money_is_not_worth_a_retry(error: object) -> None:
    refused = read(429, {"error": error}, {"retry-after": "1"})
    assert type(refused) is LLMRejected
    assert not refused.retryable


def test_a_402_is_retried_only_when_it_says_when() -> None:
    error = read(402, {}, {"retry-after": "3"})
    assert isinstance(error, LLMRateLimited)
    assert error.retry_after == timedelta(seconds=3)


def test_an_overloaded_server_may_say_for_how_long() -> None:
    error = read(503, {"error": "Loading model"}, {"retry-after": "3"})
    assert isinstance(error, AskedToWait)
    assert error.retry_after == timedelta(seconds=3)


def test_x_should_retry_is_obeyed() -> None:
    assert not read(500, {}, {"x-should-retry": "false"}).retryable
    assert read(400, {}, {"x-should-retry": "true"}).retryable
    assert not read(429, {"error": {"code": "insufficient_quota"}}, {"x-should-retry": "true"}).retryable


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_filter_is_no_error_of_the_operator(code: str) -> None:
    assert type(read(400, {"error": {"code": code}})) is ContentRefused
    azure = {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}
    assert type(read(400, {"error": azure})) is ContentRefused
    assert type(read(403, {"error": {"message": "your input was flagged", "code": 403}})) is ContentRefused


@pytest.mark.parametrize(
    ("status", "body", "parameter"),
    [
        (
            400,
            {
                "error": {
                    "code": "unsupported_parameter",
                    "param": "max_tokens",
                    "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                }
            },
            "max_tokens",
        ),
        (400, {"error": {"message": "'max_tokens' is not supported; use 'max_completion_tokens'"}}, "max_tokens"),
        (400, {"error": {"code": "unsupported_value", "param": "temperature"}}, "temperature"),
        (400, {"error": {"message": "`temperature` is deprecated for this model"}}, "temperature"),
        (400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}}, "stream_options"),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}, "stream_options"),
    ],
)
def test_a_refused_parameter_is_named(status: int, body: object, parameter: str) -> None:
    error = read(status, body)
    assert isinstance(error, ParameterRefused)
    assert error.parameter == parameter


@pytest.mark.parametrize(
    "error",
    [
        {"code": "invalid_value", "param": "temperature", "message": "temperature must be at most 2"},
        {"code": "unsupported_parameter", "param": "model"},
        {"message": "unknown model"},
        {"message": "max_tokens is too large"},
    ],
)
def test_other_complaints_are_not_taken_for_it(error: object) -> None:
    assert type(read(400, {"error": error})) is LLMRejected


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": "something broke"}, StreamBroken),
        ({"error": {"message": "x", "type": "server_error", "code": None}}, StreamBroken),
        ({"error": {"message": "x", "code": 502}}, LLMUnavailable),
        ({"type": "error", "error": {"type": "overloaded_error"}}, LLMUnavailable),
        ({"error": {"code": "rate_limit_exceeded"}}, LLMRateLimited),
        ({"error": {"code": 429}}, LLMRateLimited),
        ({"error": {"code": "insufficient_quota"}}, LLMRejected),
        ({"error": {"type": "authentication_error"}}, LLMRejected),
        ({"error": "the prompt exceeds the context window"}, PromptTooLong),
        ({"error": {"code": "content_filter"}}, ContentRefused),
        ([{"error": {"code": 503}}], LLMUnavailable),
    ],
)
def test_an_error_inside_a_success_is_read_alike(body: object, kind: type[LLMError]) -> None:
    assert type(inside_success("model", body)) is kind


SECRET = "sk-secret and the <b>prompt</b>"


def test_only_identifiers_of_what_the_server_says_are_repeated() -> None:
    body = {"error": {"message": SECRET, "type": "invalid_request_error", "code": SECRET, "param": SECRET}}
    for status in range(300, 600):
        for error in (read(status, body), inside_success("model", body), read(status, f"<html>{SECRET}</html>".encode())):
            assert "secret" not in str(error)
            assert "<" not in str(error)
    assert "invalid_request_error" in str(read(400, body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "type", "param", "message", "details"]), inner)
    ),
)


@settings(deadline=None)
@given(
    st.integers(300, 599), JSON | st.binary(), st.dictionaries(st.sampled_from(["retry-after", "x-should-retry"]), st.text())
)
def test_any_refusal_becomes_an_error_of_the_port(status: int, body: object, headers: dict[str, str]) -> None:
    assert isinstance(read(status, body, headers), LLMError)
    assert isinstance(inside_success("model", body), LLMError)


def test_deep_nesting_does_not_raise() -> None:
    assert isinstance(read(400, b"[" * 100_000), LLMRejected)
