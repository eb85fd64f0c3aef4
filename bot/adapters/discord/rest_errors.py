"""What Discord's refusals and discord.py's failures mean for delivery.

Their texts stay out of our errors, which are logged: Discord repeats what it refuses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum

import aiohttp
import discord

from bot.chat.protocol import DeliveryDelayed, DeliveryError, MessageGone, OutcomeUnknown, Unreachable

MOMENT = timedelta(seconds=1)
"""The wait before another try where Discord names none; delivery doubles it from one failure to the next."""
BAN = timedelta(seconds=60)
"""The least wait when Cloudflare, in front of Discord, keeps us out: it counts each request that comes too early."""
NEW_TOKEN = timedelta(seconds=30)
LONGEST = timedelta(hours=1)
"""No answer from outside makes us wait longer than this."""

_GIBBERISH = (LookupError, TypeError, ValueError)
FAILURES = (discord.RateLimited, discord.HTTPException, aiohttp.ClientError, OSError, RuntimeError, *_GIBBERISH)
"""What a request on discord.py's HTTP layer fails with. Time limits are an OSError, a session closed meanwhile is a
RuntimeError, an answer that is none of Discord's (a 429 without its wait, JSON that breaks off) one of the last three."""


class Code(IntEnum):
    """Discord's error codes that we tell apart."""

    UNKNOWN_CHANNEL = 10003
    UNKNOWN_GUILD = 10004
    UNKNOWN_MEMBER = 10007
    UNKNOWN_MESSAGE = 10008
    UNKNOWN_USER = 10013
    ALREADY_ANSWERED = 40060
    MISSING_ACCESS = 50001
    DM_REFUSED = 50007
    NO_TEXT_CHANNEL = 50008
    MISSING_PERMISSIONS = 50013
    WRONG_CHANNEL_TYPE = 50024
    INVALID_FORM = 50035
    ARCHIVED = 50083
    NO_MUTUAL_GUILD = 50278
    NO_HISTORY_FOR_REPLY = 160002
    THREAD_EXISTS = 160004
    THREAD_LOCKED = 160005
    TOO_MANY_THREADS = 160006
    AUTOMOD_MESSAGE = 200000
    AUTOMOD_TITLE = 200001


AUTOMOD = (Code.AUTOMOD_MESSAGE, Code.AUTOMOD_TITLE)
_OUT_OF_REACH: dict[int, str] = {
    Code.UNKNOWN_CHANNEL: "the channel or thread is not there any more",
    Code.UNKNOWN_GUILD: "the server is not there any more, or the bot was removed from it",
    Code.MISSING_ACCESS: "the bot does not see the channel: grant it View Channels there",
    Code.DM_REFUSED: "this person takes no direct messages from the bot",
    Code.NO_MUTUAL_GUILD: "this person takes no direct messages from the bot: they share no server any more",
    Code.MISSING_PERMISSIONS: "the bot lacks a permission there; `parley doctor` says which",
    Code.THREAD_LOCKED: "the thread is locked",
}


@contextmanager
def translated(*, repeatable: bool) -> Iterator[None]:
    """Raise what fails inside as a DeliveryError.

    `repeatable`: doing it twice is doing it once (an edit, a look), so a lost answer only means to try again.
    """
    try:
        yield
    except discord.RateLimited as exc:
        raise DeliveryDelayed("Discord asks to wait", retry_after=_seconds(exc.retry_after)) from exc
    except discord.HTTPException as exc:
        raise _meaning(exc, repeatable=repeatable) from exc
    except FAILURES as exc:
        raise _unanswered(f"Discord did not answer ({type(exc).__name__})", repeatable=repeatable) from exc


def _meaning(exc: discord.HTTPException, *, repeatable: bool) -> DeliveryError:
    said = f"HTTP {exc.status}, code {exc.code}"
    if exc.code == Code.UNKNOWN_MESSAGE:
        return MessageGone("the message is not there any more")
    if reason := _OUT_OF_REACH.get(exc.code):
        return Unreachable(f"{reason} ({said})")
    if exc.status == 429:
        # Discord's own answers came through its proxy and say so; one without `Via` is Cloudflare's.
        least = MOMENT if exc.response.headers.get("Via") else BAN
        return DeliveryDelayed(f"Discord asks to wait ({said})", retry_after=max(least, _retry_after(exc)))
    if exc.status == 401:
        return DeliveryDelayed(f"Discord does not accept the token ({said})", retry_after=NEW_TOKEN)
    if exc.status == 403 and not exc.code:
        return DeliveryDelayed(f"something in front of Discord keeps us out ({said})", retry_after=BAN)
    if exc.status == 403:
        return Unreachable(f"Discord does not allow it ({said})")
    if exc.status >= 500:
        return _unanswered(f"Discord failed ({said})", repeatable=repeatable)
    return DeliveryError(f"Discord refuses it ({said})")


def _unanswered(reason: str, *, repeatable: bool) -> DeliveryError:
    return DeliveryDelayed(reason, retry_after=MOMENT) if repeatable else OutcomeUnknown(reason)


def _retry_after(exc: discord.HTTPException) -> timedelta:
    try:
        return _seconds(float(exc.response.headers.get("Retry-After", "")))
    except ValueError:
        return MOMENT


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, MOMENT.total_seconds()), LONGEST.total_seconds()))
