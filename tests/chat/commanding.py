"""People and operators who type commands into a whole chat (`tests.chat.chatting`)."""

import random
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from bot.chat.callers import MEMBER, Kind, Standing
from bot.chat.commands import Commands, Parts
from bot.chat.protocol import Address, CommandCall, CommandReply, Place
from bot.chat.sweeper import Sweeper
from bot.findings import Finding, Verdict
from tests.chat.chatting import PLATFORM, Chat

HOST = f"{PLATFORM}:w/ada"
"""The setting that makes Ada a host."""
OPERATORS = frozenset({"cooks"})
COOK = Standing(kind=Kind.MEMBER, groups=OPERATORS)
"""Of a group that operates, once `appoint` has said so."""
OWNER = Standing(kind=Kind.MEMBER, owner=True)
GUEST = Standing(kind=Kind.GUEST)
BOT = Standing(kind=Kind.BOT)


async def findings() -> Collection[Finding]:
    return [
        Finding(verdict=Verdict.GOOD, what="disk", text="enough"),
        Finding(verdict=Verdict.BAD, what="net", text="mend it"),
    ]


def parts_of(chat: Chat) -> Parts:
    sweeper = Sweeper(
        chat.store,
        chat.clock,
        random.Random(1),
        rules=chat.rules,
        audit_ttl=timedelta(days=365),
        purge_after=timedelta(hours=24),
        interval=timedelta(minutes=5),
    )
    return Parts(
        store=chat.store,
        turns=chat.turns,
        sweeper=sweeper,
        rules=chat.rules,
        authority=chat.authority,
        clock=chat.clock,
        platforms=lambda: [f"{PLATFORM} (3 servers)", "other (asleep)"],
        models=lambda: ["scripted (ready)"],
        examine=findings,
        purge_after=timedelta(hours=24),
        version="1",
        began=chat.clock.now(),
    )


def table(chat: Chat) -> Commands:
    return Commands(parts_of(chat))


def typed(
    chat: Chat,
    line: str,
    *,
    user: str = "ada",
    standing: Standing = MEMBER,
    workspace: str = "w",
    channel: str = "kitchen",
    thread: str = "",
    shared: bool = False,
    place: Place | None = None,
) -> CommandCall:
    """Write a call; `line` may begin with a group. `shared`: the channel's conversation is everybody's."""
    name, _, argument = line.partition(" ")
    if name in ("chat", "parley"):
        word, _, argument = argument.partition(" ")
        name = f"{name} {word}"
    key = replace(chat.key(user="" if thread or shared else user, channel=channel), workspace=workspace, thread=thread)
    return CommandCall(
        name=name,
        argument=argument,
        place=place or (Place.THREAD if thread else Place.CHANNEL),
        key=key,
        address=Address(platform=PLATFORM, workspace=workspace, channel=channel, thread=thread),
        author_id=user,
        author_name=user,
        standing=standing,
        at=chat.clock.now(),
    )


async def type_in(chat: Chat, line: str, **parts: object) -> CommandReply:
    return await table(chat).handle(typed(chat, line, **parts))  # type: ignore[arg-type]


async def text_of(chat: Chat, line: str, **parts: object) -> str:
    return (await type_in(chat, line, **parts)).text


async def appoint(chat: Chat) -> None:
    """Let the cooks operate."""
    await chat.choose("operator", "on", subject="group:cooks")
