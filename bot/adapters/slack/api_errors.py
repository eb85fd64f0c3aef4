"""What Slack's refusals and the SDK's failures mean for delivery.

Slack names what it refuses by a word such as `channel_not_found`. Only that word goes into our errors, which are logged:
what the SDK's errors say repeats the answer, and with it texts of messages.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.chat.protocol import DeliveryDelayed, DeliveryError, MessageGone, OutcomeUnknown, Unreachable
from bot.tracebacks import forget_frames

MOMENT = timedelta(seconds=1)
"""The wait before another try where Slack names none; delivery doubles it from one failure to the next."""
LONGEST = timedelta(hours=1)
"""No answer from outside makes us wait longer than this."""

TOKEN_DEAD = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "team_not_found", "token_expired", "token_revoked"}
)
"""The installation is over, or its token was replaced by another."""
GONE = frozenset({"cant_update_message", "message_not_found"})
"""The message is not there any more; one that had replies became a tombstone, which is not ours."""

_OUT_OF_REACH = {
    "accesslimited": "the workspace lets the app in from other networks only",
    "access_denied": "Slack does not let the bot do that there",
    "cannot_dm_bot": "a bot takes no direct messages from another",
    "channel_is_limited_access": "only some people may write in that channel",
    "channel_not_found": "the channel is not there any more, or the bot was removed from it",
    "ekm_access_denied": "the workspace's administrators have closed it for the moment",
    "is_archived": "the channel is archived",
    "messages_tab_disabled": "the app takes no direct messages: switch its Messages tab on",
    "missing_scope": "the app lacks a scope; `parley doctor` says which",
    "no_permission": "the app lacks a permission there; `parley doctor` says which",
    "not_in_channel": "the bot is not in the channel: invite it",
    "team_access_not_granted": "the app is not approved for this workspace",
    "thread_locked": "the thread is locked",
    "user_disabled": "this person is not in the workspace any more",
    "user_not_found": "this person is not in the workspace any more",
}
_ASKS_TO_WAIT = frozenset(
    {"message_limit_exceeded", "org_login_required", "rate_limited", "ratelimited", "team_added_to_org"}
)
_FAILED = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
"""Slack's own trouble: it says of each that part of the call may have been done."""

_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_FAILURES = (SlackClientError, aiohttp.ClientError, OSError, RuntimeError, AttributeError, ValueError)
"""What a call of the SDK fails with. Time limits are an OSError, a session closed meanwhile is a RuntimeError; an answer
that is not Slack's (a proxy's, a hotel's login page) ends as one of the last two."""

log = structlog.get_logger(__name__)


class SlackRefused(DeliveryError):
    """Slack refuses a call for a reason that a caller may know how to get around; `code` is Slack's word for it."""

    def __init__(self, code: str, where: str = "") -> None:
        """`where` is what Slack says about the place in the call, without any text of ours."""
        super().__init__(f"Slack refuses it ({code})")
        self.code = code
        self.where = where


class TokenDead(Unreachable):
    """The token with which we asked is not valid any more."""


class ThreadGone(Unreachable):
    """The message at which the thread began is not there any more."""


@contextmanager
def translated(*, repeatable: bool) -> Iterator[None]:
    """Raise what fails inside as a DeliveryError.

    `repeatable`: doing it twice is doing it once (an edit, a look), so a lost answer only means to try again.
    """
    try:
        yield
    except SlackApiError as exc:
        raise _meaning(exc, repeatable=repeatable) from exc
    except _NEVER_CONNECTED as exc:
        forget_frames(exc)
        raise DeliveryDelayed("Slack can't be reached", retry_after=MOMENT) from exc
    except _FAILURES as exc:
        forget_frames(exc)  # the SDK keeps the failure of a cut call in one of them: some 100 objects a call
        raise _unanswered(f"Slack did not answer ({type(exc).__name__})", repeatable=repeatable) from exc


def asks_to_wait(failure: DeliveryError) -> bool:
    """Tell whether Slack refused a call because there were too many; nothing of it was done."""
    cause = failure.__cause__
    return isinstance(failure, DeliveryDelayed) and isinstance(cause, SlackApiError) and _limits(cause.response)


def _limits(answer: Any) -> bool:
    status = _number(getattr(answer, "status_code", None) or getattr(answer, "status", 0))
    data = getattr(answer, "data", None)
    return status == 429 or (data.get("error") if isinstance(data, Mapping) else None) in _ASKS_TO_WAIT


def _meaning(exc: SlackApiError, *, repeatable: bool) -> DeliveryError:
    answer: Any = exc.response
    status = _number(getattr(answer, "status_code", None) or getattr(answer, "status", 0))
    data = getattr(answer, "data", None)
    code = data.get("error") if isinstance(data, Mapping) else None
    if _limits(answer):
        delayed = DeliveryDelayed(f"Slack asks to wait ({code or status})", retry_after=_retry_after(answer))
        method = str(getattr(answer, "api_url", "")).rpartition("/")[2]
        log.info("slack.asked_to_wait", method=method, seconds=delayed.retry_after.total_seconds())
        return delayed
    if not isinstance(code, str) or not code or status >= 500 or code in _FAILED:
        return _unanswered(f"Slack failed ({code or f'HTTP {status}'})", repeatable=repeatable)
    if code in GONE:
        return MessageGone(f"the message is not there any more ({code})")
    if code in TOKEN_DEAD:
        return TokenDead(f"Slack does not accept the token of this workspace ({code}): install the app anew")
    if code in ("thread_not_found", "invalid_thread_ts"):
        return ThreadGone(f"the thread is not there any more ({code})")
    if reason := _OUT_OF_REACH.get(code):
        return Unreachable(f"{reason} ({code})")
    if code.startswith("restricted_action"):
        return Unreachable(f"the workspace's rules do not let the bot write there ({code})")
    if code == "edit_window_closed":
        return SlackRefused(f"{code}: the workspace has to allow messages to be edited")
    return SlackRefused(code, _pointers(data))


def _pointers(data: Any) -> str:
    """Return where in a call the trouble is, such as "/blocks/0"."""
    said = data.get("response_metadata", {}).get("messages", ()) if isinstance(data, Mapping) else ()
    pointers = [str(message).partition("json-pointer:")[2].partition("]")[0] for message in said]
    return " ".join(pointer for pointer in pointers if pointer)


def _unanswered(reason: str, *, repeatable: bool) -> DeliveryError:
    return DeliveryDelayed(reason, retry_after=MOMENT) if repeatable else OutcomeUnknown(reason)


def _retry_after(answer: Any) -> timedelta:
    seconds = _number((getattr(answer, "headers", None) or {}).get("Retry-After"))
    return timedelta(seconds=min(max(seconds, MOMENT.total_seconds()), LONGEST.total_seconds()))


def _number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
