"""People's commands on what is kept of them: take it away, have it erased. They work for whoever may not speak as well."""

import secrets
from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import datetime

import structlog

from bot.chat import words_commands as say
from bot.chat.authority import Rank
from bot.chat.callers import Caller
from bot.chat.commands_layout import counted
from bot.chat.commands_parts import Parts
from bot.chat.export import Archive, Cursor, Person, archives
from bot.chat.options import Option, OptionKind
from bot.chat.protocol import CommandCall, CommandReply, ReplyFile
from store import (
    EXPORT_PAGE,
    AuditEntry,
    Conversation,
    Forgotten,
    StoreUnavailable,
)

FILES = 10
"""Files of one reply; Discord takes no more."""
EVERYTHING = "everything"
FORGET = "chat forget"
"""What the log of governing calls it, wherever it was asked for."""

EXPORT_OPTIONS = (Option(name="after", summary="where an earlier export ended, as it said"),)
FORGET_OPTIONS = (
    Option(
        name="what",
        summary="everything is all of yours in this workspace; left out, this conversation",
        kind=OptionKind.CHOICE,
        choices=(EVERYTHING,),
    ),
)

Given = Mapping[str, str]

log = structlog.get_logger(__name__)


async def export(parts: Parts, call: CommandCall, given: Given) -> CommandReply:
    """Hand out all that is kept of the caller in this workspace, as files."""
    after = Cursor.read(given["after"]) if "after" in given else Cursor()
    if after is None:
        return CommandReply(text=say.EXPORT_FROM)
    packed: list[Archive] = []
    whole = archives(
        parts.store,
        Person(platform=call.address.platform, workspace=call.address.workspace, id=call.author_id),
        after=after,
        at=call.at,
        kept_until=parts.kept_until,
    )
    async with parts.exporting, aclosing(whole) as made:
        async for archive in made:
            packed.append(archive)
            if len(packed) == FILES:
                break
    text = say.exported(
        conversations=sum(archive.conversations for archive in packed),
        messages=sum(archive.messages for archive in packed),
        files=len(packed),
        more="" if packed[-1].end is None else str(packed[-1].end),
    )
    names = [f"parley-export-{number}-of-{call.at:%Y-%m-%d}.zip" for number in range(1, len(packed) + 1)]
    log.info("person.exported", platform=call.address.platform, files=len(packed))
    return CommandReply(
        text=text,
        files=tuple(ReplyFile(name=name, data=archive.data) for name, archive in zip(names, packed, strict=True)),
    )


async def forget(parts: Parts, call: CommandCall, given: Given) -> str:
    """Erase this conversation for good, or all that is the caller's in this workspace."""
    if given.get("what") == EVERYTHING:
        return await _forget_everything(parts, call)
    conversation = await parts.store.find(call.key)
    return say.NOTHING_HERE if conversation is None else await forget_one(parts, call.caller, conversation)


async def forget_one(parts: Parts, caller: Caller, conversation: Conversation) -> str:
    """Stop and erase a conversation for good, if it is the caller's to erase. `caller` is where it is held."""
    if refusal := await _not_theirs(parts, caller, conversation):
        return refusal
    await parts.turns.stop(conversation.id)
    messages = await parts.store.delete(conversation.id)
    await _scrub(parts)
    log.info("conversation.forgotten", conversation=conversation.id, messages=messages)
    return await _receipt(parts, caller, Forgotten(conversations=1, messages=messages), at=parts.clock.now())


async def _not_theirs(parts: Parts, caller: Caller, conversation: Conversation) -> str:
    """Say why somebody may not erase a conversation that others share; "" when they may."""
    if caller.direct or conversation.key.user == caller.user_id:
        return ""
    if (parts.authority.rank(caller) or Rank.ANYONE) < Rank.PERSON:
        return say.NOT_YOURS_TO_ERASE
    record = await parts.store.record(caller.platform, caller.workspace, conversation.id)
    if record is not None and record.people and caller.user_id not in record.people:
        return say.NOT_YOURS_ALONE
    return ""


async def _forget_everything(parts: Parts, call: CommandCall) -> str:
    where, now = call.address, parts.clock.now()
    concerned: list[int] = []
    reached = 0
    while True:
        page = await parts.store.conversations_with(
            where.platform, where.workspace, call.author_id, limit=EXPORT_PAGE, after=reached
        )
        for conversation in page:
            await _stop_if_alone(parts, call, conversation)
            concerned.append(conversation.id)
        if len(page) < EXPORT_PAGE:
            break
        reached = page[-1].id
    forgotten = await parts.store.forget_person(where.platform, where.workspace, call.author_id, at=now)
    # In conversations that others share, replies that came of the caller's words alone are taken back.
    parts.turns.retracted(concerned)
    await _scrub(parts)
    return await _receipt(parts, call.caller, forgotten, at=now)


async def _stop_if_alone(parts: Parts, call: CommandCall, conversation: Conversation) -> None:
    """Stop what is under way for the caller, so that its message says so; others' answers go on."""
    if not await parts.store.busy(conversation.id):
        return
    record = await parts.store.record(call.address.platform, call.address.workspace, conversation.id)
    if record is not None and set(record.people) <= {call.author_id}:
        await parts.turns.stop(conversation.id)


async def _scrub(parts: Parts) -> None:
    """Have what was erased overwritten at once; the store does it within a minute by itself when that can't be."""
    with suppress(StoreUnavailable):
        await parts.store.scrub()


async def _receipt(parts: Parts, caller: Caller, forgotten: Forgotten, *, at: datetime) -> str:
    """Give the caller a number that proves what was done, and keep it: it names nobody, and nothing that was said."""
    receipt = secrets.token_hex(4).upper()
    what = f"{counted(forgotten.conversations, 'conversation')}, {counted(forgotten.messages, 'message')}"
    log.info("person.forgotten", receipt=receipt, platform=caller.platform, what=what)
    with suppress(StoreUnavailable):  # it is gone, which counts for more than the note of it
        await parts.store.audit(
            AuditEntry(
                platform=caller.platform,
                workspace=caller.workspace,
                channel="",
                author_id="",
                action=FORGET,
                target=f"receipt {receipt}",
                after=what,
                at=at,
            )
        )
    return say.forgotten(conversations=forgotten.conversations, messages=forgotten.messages, at=at, receipt=receipt)
