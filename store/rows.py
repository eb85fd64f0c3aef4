"""What the rows of every engine have in common: times and roles as numbers, names as columns, values made of columns."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from store.errors import StoreDamaged, refuse_unstorable
from store.governing import AuditEntry
from store.keeping import TurnRecord
from store.values import Attachment, ConversationKey, Ending, Message, MessageName, Role, TurnState

ROLES = (Role.USER, Role.ASSISTANT)
"""Roles as they are numbered in a row: an answer stands behind the message whose position it shares."""
MICROSECOND = timedelta(microseconds=1)
LAST = (1 << 63) - 1
"""A position behind all others; as a limit, none."""
STOP, REDO, RETRACT, TOLD = 1, 2, 3, 4
"""What the holder of a turn is asked, in `turn.stop`. A turn that was retracted ends only by a holder who was told so:
another one may have shown more of the reply meanwhile."""

FIRST_ONES = 64
"""Turns at the head of the queue that a claim looks at one by one, before it looks from workspace to workspace: mostly one
of these can be had, and where none can, thousands behind them may wait for the same."""

_ENDINGS = {ending.value: ending for ending in Ending}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Begin(NamedTuple):
    """How a turn is claimed: for how many microseconds, with how much of the history, and with how many others of its
    workspace."""

    lease: int
    window: int
    per_workspace: int | None


def refuse_all(*texts: str) -> None:
    """Raise `UnstorableText` when one of the texts can't be kept."""
    for text in texts:
        refuse_unstorable(text)


def columns_of(key: ConversationKey) -> tuple[str, str, str, str, str]:
    """Write a key as its columns."""
    return (key.platform, key.workspace, key.channel, key.thread, key.user)


def columns_of_name(name: MessageName) -> tuple[str, str, str, str]:
    """Write a message's name as its columns; raises `UnstorableText`, as keys do by themselves."""
    columns = (name.platform, name.workspace, name.channel, name.id)
    refuse_all(*columns)
    return columns


def us_of(moment: datetime) -> int:
    """Write a time as rows have it; a naive one raises `ValueError`."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is refused: pass aware UTC")
    return (moment - _EPOCH) // MICROSECOND


def time_of(us: int) -> datetime:
    """Read a time."""
    return _EPOCH + timedelta(microseconds=us)


def delivery_names(event_id: str, message_id: str, key: ConversationKey) -> tuple[str, str]:
    """Name a delivery and its message, as they are known again; "" for a delivery that has no name."""
    # Ids come first: platforms number upwards, so new names stand together at the end of their index.
    event = "\x1f".join((event_id, "e", key.workspace, key.platform)) if event_id else ""
    return event, known_name(key.platform, key.workspace, key.channel, message_id)


def known_name(platform: str, workspace: str, channel: str, message_id: str) -> str:
    """Name a message as it is known again."""
    return "\x1f".join((message_id, "m", channel, workspace, platform))


def known_names(columns: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Name messages by the columns of their names, in one order everywhere; where there is no channel, none can be known."""
    return sorted(known_name(*column) for column in columns if column[2])


class _Draft:
    """A message under construction: the fields of `Message` without its guard, which makes 20 of them cost 20 us more.

    `Message` is frozen, and a frozen dataclass pays for each field that its constructor sets. A draft is filled in the plain
    way and becomes a message by its class, which Python allows between classes with the same slots.
    """

    __slots__ = Message.__slots__

    def __init__(
        self,
        id: int,
        conversation_id: int,
        role: int,
        position: int,
        author_id: str,
        author_name: str,
        text: str,
        ending: str,
        turn_id: int | None,
        at: int,
        from_bot: int,
        platform_id: str,
        attachments: tuple[Attachment, ...],
    ) -> None:
        self.id = id
        self.conversation_id = conversation_id
        self.role = ROLES[role]
        self.position = position
        self.author_id = author_id
        self.author_name = author_name
        self.text = text
        self.ending = _ENDINGS[ending]
        self.turn_id = turn_id
        self.at = _EPOCH + timedelta(0, 0, at)
        self.from_bot = from_bot == 1
        self.platform_id = platform_id
        self.attachments = attachments


def message_of(*columns: Any) -> Message:
    """Make a message of its columns, in the order of the fields of `_Draft`.

    Raises:
        StoreDamaged: they hold what Parley never writes.
    """
    try:
        draft: Any = _Draft(*columns)
    except (KeyError, IndexError, TypeError, OverflowError) as exc:
        raise damaged(columns[1]) from exc
    draft.__class__ = Message
    return draft  # type: ignore[no-any-return]


def damaged(conversation_id: int) -> StoreDamaged:
    """Say that something of a conversation can't be read."""
    return StoreDamaged(
        f"conversation {conversation_id} is damaged in the store: put a copy back with `parley restore BACKUP`, or forget it"
    )


def turn_record_of(row: Sequence[Any]) -> TurnRecord:
    """Read a turn as operators see it."""
    id_, state, attempts, messages, parts, queued, started, shown, settled, model, prompt, completion, money, error = row
    return TurnRecord(
        id=id_,
        state=TurnState(state),
        attempts=attempts,
        messages=messages,
        parts=parts,
        queued_at=time_of(queued),
        started_at=None if started is None else time_of(started),
        first_shown_at=None if shown is None else time_of(shown),
        settled_at=None if settled is None else time_of(settled),
        model=model,
        prompt_tokens=prompt,
        completion_tokens=completion,
        money=money,
        error=error,
    )


def audit_entry_of(row: Sequence[Any]) -> AuditEntry:
    """Read an entry of the audit log."""
    id_, platform, workspace, channel, author_id, action, target, before, after, allowed, at = row
    return AuditEntry(
        id=id_,
        platform=platform,
        workspace=workspace,
        channel=channel,
        author_id=author_id,
        action=action,
        target=target,
        before=before,
        after=after,
        allowed=bool(allowed),
        at=time_of(at),
    )
