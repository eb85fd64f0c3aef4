"""What a server's refusal means: statuses and error bodies become the errors of the port.

Of what the server says only identifiers (`code`, `type`, `param`) reach an error's message. Its sentences are read to
recognise a case and then dropped: they quote prompts, echo keys, or are whole pages of HTML.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from bot.llm import payload
from bot.llm.protocol import (
    ContentRefused,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMUnavailable,
    PromptTooLong,
    StreamBroken,
)
from bot.llm.waits import asked_wait

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")

_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large", "string_above_max_length"}
_TOO_LONG_WORDS = (
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
    "too many tokens",
    "input is too long",
    "reduce the length",
    "too large for model",
)
_MONEY_CODES = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
}
_FILTER_CODES = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"}
_PARAMETER_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
_PARAMETER_WORDS = (
    "unsupported",
    "not supported",
    "does not support",
    "unrecognized",
    "unknown",
    "not permitted",
    "extra_forbidden",
    "deprecated",
)

# What an error inside a 200 would have been as a status.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "slow_down": 503,
    "overloaded_error": 529,
}


class ParameterRefused(LLMRejected):
    """The server does not know one parameter of the request; without it the call may work."""

    def __init__(self, message: str, *, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class AskedToWait(LLMUnavailable):
    """The server is overloaded and said for how long."""

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What an error body says. `sentence` is lowercase and only for recognition."""

    names: tuple[str, ...]
    parameter: str
    status: int | None
    sentence: str

    def is_one_of(self, codes: Collection[str]) -> bool:
        return any(name in codes for name in self.names)

    def __str__(self) -> str:
        shown = [name for name in dict.fromkeys(self.names) if _IDENTIFIER.fullmatch(name)]
        if _IDENTIFIER.fullmatch(self.parameter):
            shown.append(f"param {self.parameter}")
        return f" ({', '.join(shown)})" if shown else ""


def refusal(
    model: str, *, status: int, headers: Mapping[str, str], body: bytes, now: datetime, optional: Collection[str] = ()
) -> LLMError:
    """Read an answer whose status is not a success; `optional` names the parameters that a call can do without."""
    said = _read(payload.parse(body))
    wait = asked_wait(headers, now)
    where = f"{model}: status {status}{said}"
    error = _special(where, status, said) or _refused_parameter(where, status, said, optional)
    error = error or _refused_image(where, status, said)
    if error is not None:
        return error
    should_retry = headers.get("x-should-retry", "").strip().lower()
    error = _by_status(where, status, wait)
    if should_retry == "false":
        error.retryable = False
    elif should_retry == "true" and not error.retryable:
        return LLMUnavailable(f"{where}: the provider asks to try again")
    return error


def inside_success(model: str, body: object) -> LLMError:
    """Read an error object that came inside a 200."""
    said = _read(body)
    where = f"{model}: error inside the answer{said}"
    status = said.status or next((_STATUS_OF[name] for name in said.names if name in _STATUS_OF), None)
    error = _special(where, status or HTTPStatus.BAD_REQUEST, said)
    if error is not None:
        return error
    if status is None or status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return StreamBroken(where)
    return _by_status(where, status, None)


def is_error(body: payload.Fields) -> bool:
    """Tell whether an object of a stream is an error and no part of an answer."""
    return bool(body.get("error")) or body.get("object") == "error" or body.get("type") == "error"


def _read(body: object) -> _Said:
    if isinstance(body, list):  # Gemini's OpenAI dialect wraps its error in an array
        body = next(iter(body), None)
    outer = payload.fields(body)
    error = outer.get("error") or outer
    inner = payload.fields(error)
    sentence = payload.text(error) or payload.text(inner.get("message")) or str(inner.get("detail") or "")
    code = inner.get("code")
    return _Said(
        names=tuple(
            name
            for name in (
                payload.text(code),
                payload.text(payload.fields(inner.get("details")).get("error_code")),
                payload.text(payload.fields(inner.get("innererror")).get("code")),
                payload.text(inner.get("type")),
            )
            if name
        ),
        parameter=payload.text(inner.get("param")),
        status=code if isinstance(code, int) and 400 <= code <= 599 else None,
        sentence=sentence.lower(),
    )


def _special(where: str, status: int, said: _Said) -> LLMError | None:
    """Recognise what no status tells alone."""
    if said.is_one_of(_TOO_LONG_CODES) or (
        _may_be_too_long(status) and any(words in said.sentence for words in _TOO_LONG_WORDS)
    ):
        return PromptTooLong(f"{where}: the prompt does not fit the model's context; lower HISTORY_TOKENS")
    if said.is_one_of(_MONEY_CODES):
        return LLMRejected(f"{where}: quota, credit or spend limit used up; see the provider's billing page")
    if said.is_one_of(_FILTER_CODES) or (status == HTTPStatus.FORBIDDEN and "flagged" in said.sentence):
        return ContentRefused(f"{where}: the provider's filter refused")
    return None


def _may_be_too_long(status: int) -> bool:
    # A 429 with "too many tokens" means tokens per minute; 401 and 402 have nothing to do with length.
    return 400 <= status < 500 and status not in (401, 402, 408, 409, 429)


def _refused_parameter(where: str, status: int, said: _Said, optional: Collection[str]) -> ParameterRefused | None:
    if status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return None
    complains = any(words in said.sentence for words in _PARAMETER_WORDS)
    if said.parameter in optional and (complains or said.is_one_of(_PARAMETER_CODES)):
        return ParameterRefused(f"{where}: parameter not supported", parameter=said.parameter)
    if said.parameter or not complains:
        return None
    # The parameter that is complained about comes first: "'max_tokens' is not supported, use 'max_completion_tokens'".
    places = {name: found.start() for name in optional if (found := re.search(rf"\b{name}\b", said.sentence))}
    if not places:
        return None
    named = min(places, key=lambda name: places[name])
    return ParameterRefused(f"{where}: {named} not supported", parameter=named)


def _refused_image(where: str, status: int, said: _Said) -> LLMRejected | None:
    # llama.cpp calls it a failure of its own: 500 "image input is not supported".
    refused = status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY) and "image" in said.sentence
    if not refused and "image input is not supported" not in said.sentence:
        return None
    return LLMRejected(f"{where}: an image is not accepted; set LLM_IMAGES=off if the model can't see")


def _by_status(where: str, status: int, wait: timedelta | None) -> LLMError:
    match status:
        case 429:
            return LLMRateLimited(f"{where}: rate limited", retry_after=wait)
        case 402 if wait is not None:
            return LLMRateLimited(f"{where}: out of credit for now", retry_after=wait)
        case 402:
            return LLMRejected(f"{where}: payment required; see the provider's billing page")
        case 401 | 403:
            return LLMRejected(f"{where}: the key is not accepted; check LLM_API_KEY")
        case 404:
            return LLMRejected(f"{where}: no such model or address; check LLM_MODEL and LLM_BASE_URL")
        case 413:
            return PromptTooLong(f"{where}: the request is too large; lower HISTORY_TOKENS")
        case 408 | 409:
            return LLMUnavailable(f"{where}: try again")
        case _ if status >= 500:
            if wait is not None:
                return AskedToWait(f"{where}: overloaded or down", retry_after=wait)
            return LLMUnavailable(f"{where}: overloaded or down")
        case _ if 300 <= status < 400:
            return LLMRejected(f"{where}: redirects are not followed; set LLM_BASE_URL to the final address")
        case _:
            return LLMRejected(f"{where}: the request is not accepted; check LLM_MODEL and LLM_BASE_URL")
