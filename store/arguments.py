"""What every engine refuses before it looks at a row: arguments that mean nothing, and texts that can't be kept.

Raises (all functions): ValueError, UnstorableText.
"""

from collections.abc import Collection
from datetime import timedelta

from store.errors import refuse_unstorable
from store.governing import Charge, UsageBy
from store.rows import refuse_all
from store.sharing import LONGEST, LONGEST_NAME, MOST_PARTS
from store.values import Answer, Installation, NewMessage, TurnState


def require_message(message: NewMessage) -> None:
    """Refuse a message with a text that can't be kept, in itself or its files."""
    refuse_all(
        message.text,
        message.author_name,
        message.author_id,
        message.address,
        message.message_id,
        message.event_id,
    )
    for file in message.attachments:
        refuse_all(file.name, file.media_type, file.url, file.problem)


def require_outcome(answer: Answer | None, error: str) -> None:
    """Refuse a turn's outcome that is neither an answer nor an error, or both."""
    if (answer is None) == (not error):
        raise ValueError("a turn is finished with an answer or with an error, not both")
    refuse_all(*(error,) if answer is None else (answer.text, answer.model))


def require_charge(charge: Charge | None) -> None:
    """Refuse a charge on nobody's account that could be named."""
    if charge is not None:
        refuse_unstorable(charge.author_id)


def require_final(state: TurnState) -> None:
    """Refuse to settle a turn as one that goes on."""
    if not state.final:
        raise ValueError(f"a turn can't be settled as {state.value}")


def require_read(data: bytes | None, problem: str) -> None:
    """Refuse an attachment that was neither read nor can't be, or both."""
    if (data is None) == (not problem):
        raise ValueError("an attachment is kept with its data or with a problem, not both")
    refuse_unstorable(problem)


def require_window(n: int) -> None:
    """Refuse a window of no message."""
    if n < 1:
        raise ValueError("at least one message has to be asked for")


def require_page(limit: int, most: int, what: str = "") -> None:
    """Refuse a page of nothing, or of more than `most`; `what` is on it."""
    if not 1 <= limit <= most:
        raise ValueError(" ".join(filter(None, (f"from one to {most}", what, "can be asked for"))))


def require_somebody(author_id: str) -> None:
    """Refuse a person without a name."""
    if not author_id:
        raise ValueError("somebody has to be named")


def require_place(platform: str, workspace: str, channel: str = "", thread: str = "") -> tuple[str, str, str, str]:
    """Name a place by its columns; an absent part of the last two stands for any. Refuse one that stands for everything."""
    if not (workspace or channel or thread):
        raise ValueError("a place is a workspace, a channel or a thread: nothing at all would stand for everybody's")
    refuse_all(platform, workspace, channel, thread)
    return (platform, workspace, channel, thread)


def require_installation(installation: Installation) -> None:
    """Refuse an installation that is in no workspace."""
    refuse_all(installation.platform, installation.workspace, installation.user)
    if not installation.workspace:
        raise ValueError("an installation needs a workspace")


def require_usage(by: UsageBy, user: str, limit: int) -> None:
    """Refuse to sum up in no row, or what is not kept."""
    if limit < 1:
        raise ValueError("at least one row has to be asked for")
    if user and by is UsageBy.CHANNEL:
        raise ValueError("what one user used is not kept by channel: ask by day")


def require_share(name: str, replica: str, parts: int, ready: Collection[int], lasting: timedelta) -> None:
    """Refuse a share of what can't be shared."""
    _require_names(name, replica)
    if not 1 <= parts <= MOST_PARTS:
        raise ValueError(f"from one to {MOST_PARTS} parts can be shared")
    if not all(0 <= number < parts for number in ready):
        raise ValueError(f"the parts are 0 to {parts - 1}")
    if not timedelta() < lasting <= LONGEST:
        raise ValueError("a share is asked for a time that is longer than nothing, and a day at most")


def require_leave(name: str, replica: str) -> None:
    """Refuse to take nobody out, or out of nothing."""
    _require_names(name, replica)


def require_budget(budget: str, pace: timedelta) -> None:
    """Refuse a pace that is none."""
    _require_names(budget)
    if not timedelta() <= pace <= LONGEST:
        raise ValueError("the pace of a budget is not negative, and a day at most")


def require_hold_back(budget: str, lasting: timedelta) -> None:
    """Refuse to hold back into the past."""
    _require_names(budget)
    if lasting < timedelta():
        raise ValueError("a budget can't be held back for less than no time")


def _require_names(*names: str) -> None:
    refuse_all(*names)
    if not all(0 < len(name) <= LONGEST_NAME for name in names):
        raise ValueError(f"a name of what is shared has from one to {LONGEST_NAME} characters")
