"""The words that the store's laws are told in: a room, people who say something there, a bot that answers."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta

from store import (
    Absorbed,
    Answer,
    Attachment,
    Charge,
    Claim,
    ConversationKey,
    Ending,
    Hold,
    Message,
    MessageName,
    NewMessage,
    Order,
    Store,
    TurnState,
)

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=30)
OVER = timedelta()
"""A lease that is over as soon as it is given: what a crash looks like to the others, on every engine's own clock."""
ROOM = ConversationKey(platform="slack", workspace="T1", channel="C1")
PLATFORMS = ("slack", "discord")

Opens = Callable[[], Awaitable[Store]]
"""How a store is opened: at the same place each time, which is empty at first."""
Reopen = Callable[[], Awaitable[Store]]
"""Closes the store and opens the next one at its place."""
_numbers = itertools.count(1)


async def within_one_minute(*, seconds: int) -> None:
    """Wait for the next minute where fewer seconds are left of this one: a store's own clock says which one it is."""
    left = 60 - time.time() % 60
    if left < seconds:
        await asyncio.sleep(left)


def room(channel: str, **parts: str) -> ConversationKey:
    """Name another room than `ROOM`."""
    return ConversationKey(**{"platform": "slack", "workspace": "T1", "channel": channel, **parts})


def message(
    text: str = "hello",
    *,
    key: ConversationKey = ROOM,
    event_id: str | None = None,
    message_id: str | None = None,
    position: int | None = None,
    author: str = "Ann",
    address: str = "",
    at: datetime = AT,
    from_bot: bool = False,
    attachments: tuple[Attachment, ...] = (),
) -> NewMessage:
    """Write a message; its event and its id are new unless they are named."""
    number = next(_numbers)
    return NewMessage(
        key=key,
        event_id=f"E{number}" if event_id is None else event_id,
        message_id=f"M{number}" if message_id is None else message_id,
        position=position,
        author_id=f"U-{author}",
        author_name=author,
        text=text,
        address=address or f"to {text}"[:100],
        at=at,
        from_bot=from_bot,
        attachments=attachments,
    )


def named(message_id: str, *, key: ConversationKey = ROOM) -> MessageName:
    """Name a message as its platform does."""
    return MessageName(platform=key.platform, workspace=key.workspace, channel=key.channel, id=message_id)


async def ask(store: Store, text: str, message_id: str, *, key: ConversationKey = ROOM) -> int:
    """Say something that has a name of its own, and return the conversation's id."""
    conversation_id = await store.accept(message(text, message_id=message_id, key=key))
    assert conversation_id is not None
    return conversation_id


async def say(store: Store, *texts: str, key: ConversationKey = ROOM, at: datetime = AT) -> int:
    """Say one thing after the other in `key`'s conversation and return its id."""
    ids = {await store.accept(message(text, key=key, at=at)) for text in texts}
    assert None not in ids
    assert len(ids) == 1
    return int(ids.pop() or 0)


async def take(store: Store, *, lease: timedelta = LEASE, window: int = 100) -> Claim:
    """Claim the next turn, which must be there."""
    claim = await store.claim(lease=lease, window=window, platforms=PLATFORMS)
    assert claim is not None, "there should have been a turn to claim"
    return claim


async def begin(store: Store, *, key: ConversationKey = ROOM, lease: timedelta = LEASE) -> Claim:
    """Say something in a conversation that waits for nothing, and have its turn at once."""
    accepted = await store.accept_and_claim(message(key=key), lease=lease, window=1)
    assert accepted is not None
    assert accepted.claim is not None
    return accepted.claim


async def nothing_to_do(store: Store, platforms: Collection[str] = PLATFORMS) -> bool:
    return await store.claim(lease=LEASE, window=1, platforms=platforms) is None


def reply(text: str, ending: Ending = Ending.COMPLETE) -> Answer:
    return Answer(text=text, ending=ending, model="m-1", prompt_tokens=11, completion_tokens=7)


async def answer(store: Store, text: str = "hi", *, post: str = "") -> Claim:
    """Carry out the next turn from claim to end; `post` is what the platform calls its reply, when it is shown."""
    claim = await take(store)
    if post:
        await store.record_part(claim.hold, 0, post)
    await store.finish(claim.hold, reply(text))
    await store.settle(claim.hold, TurnState.DONE)
    return claim


def reread(absorbed: Absorbed | None) -> list[str]:
    """Tell the texts of the window of a turn that has absorbed something."""
    assert absorbed is not None, "there should have been something to absorb"
    return texts(absorbed.window)


def texts(messages: Iterable[Message]) -> list[str]:
    return [message.text for message in messages]


async def read(store: Store, conversation_id: int) -> list[str]:
    """Read the whole conversation."""
    return texts(await store.recent(conversation_id, 1000))


FENCED: dict[str, Callable[[Store, Hold], Awaitable[object]]] = {
    "renew": lambda store, hold: store.renew(hold, lease=LEASE),
    "absorb": lambda store, hold: store.absorb(hold, window=10),
    "record_part": lambda store, hold: store.record_part(hold, 0, "a ghost's post"),
    "keep_attachment": lambda store, hold: store.keep_attachment(hold, 1, 0, b"a ghost's file"),
    "finish": lambda store, hold: store.finish(hold, reply("a ghost's answer")),
    "finish with an error": lambda store, hold: store.finish(hold, None, error="a ghost's error"),
    "settle": lambda store, hold: store.settle(hold, TurnState.DONE),
    "release": lambda store, hold: store.release(hold),
    "reserve": lambda store, hold: store.reserve(hold, Order(author_id="U-Ghost", tokens=1, money=1, limits=())),
    "finish with a charge": lambda store, hold: store.finish(hold, reply("x"), charge=Charge(author_id="U-Ghost", money=1)),
    "release with a charge": lambda store, hold: store.release(hold, charge=Charge(author_id="U-Ghost", money=1)),
}
"""Every call that passes the fence of lease and epoch."""
