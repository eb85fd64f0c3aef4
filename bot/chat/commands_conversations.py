"""Operators' commands on conversations: list them, show how one went, set one aside and have it back.

Each works on the workspace where it is typed and on nothing else: a conversation of another one is answered exactly like one
that is not there. Nothing of what was said is shown.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from bot.chat import words_commands as say
from bot.chat.commands_layout import columns, excerpt, facts, moment, stamp
from bot.chat.commands_paging import PAGE_OPTION, needed_for, page_of
from bot.chat.commands_parts import Parts
from bot.chat.commands_subjects import SubjectKind, subject_of
from bot.chat.money import format_money
from bot.chat.options import Option, Suggests
from bot.chat.protocol import CommandCall
from store import (
    MESSAGES_COUNTED,
    SUMMARIES,
    ConversationFilter,
    ConversationRecord,
    ConversationState,
    ConversationSummary,
    TurnRecord,
)

Given = Mapping[str, str]

ALL = "all"


async def suggest_filters(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose the states that conversations can be in."""
    del parts, call, given
    return (ALL, *(state.value for state in ConversationState))


async def suggest_conversations(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose the newest conversations of the workspace, by their numbers."""
    del given
    return await _numbers(parts, call, None)


async def suggest_unexpired(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose the newest conversations that can be set aside."""
    del given
    return await _numbers(parts, call, ConversationState.CURRENT, ConversationState.ENDED)


async def suggest_expired(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose the newest conversations that can be had back."""
    del given
    return await _numbers(parts, call, ConversationState.EXPIRED)


async def _numbers(parts: Parts, call: CommandCall, *states: ConversationState | None) -> list[str]:
    where = call.address
    found = [
        summary.conversation.id
        for state in states
        for summary in await parts.store.conversations(
            where.platform, where.workspace, ConversationFilter(state=state), limit=SUMMARIES
        )
    ]
    return [str(number) for number in sorted(found, reverse=True)]


CONVERSATIONS_OPTIONS = (
    Option(
        name="filter",
        summary="all, current, ended, expired, or a person or channel",
        default=ALL,
        suggests=suggest_filters,
    ),
    PAGE_OPTION,
)


def _number_option(suggests: Suggests) -> Option:
    return Option(
        name="id",
        summary="the number of a conversation, as `conversations` lists it",
        required=True,
        suggests=suggests,
    )


SHOW_OPTIONS = (_number_option(suggest_conversations),)
FORGET_OPTIONS = (_number_option(suggest_unexpired),)
RESTORE_OPTIONS = (_number_option(suggest_expired),)


async def conversations(parts: Parts, call: CommandCall, given: Given) -> str:
    """List the workspace's conversations, the newest first."""
    wanted, page = given["filter"], int(given["page"])
    which = _filters(wanted)
    if not which:
        return say.NO_SUCH_FILTER
    await parts.note(call, target=excerpt(wanted))
    found: list[ConversationSummary] = []
    for one in which:  # a plain number may be a person's or a channel's
        found = await _listed(parts, call, one, count=needed_for(page))
        if found:
            break
    shown, more = page_of(found, page)
    if not shown:
        return say.NO_CONVERSATIONS
    header = ("id", "channel", "thread", "of", "messages", "last active", "state")
    listed = columns(header, [_row(summary) for summary in shown])
    return f"{listed}\n{say.more_pages(f'conversations {wanted} {page + 1}')}" if more else listed


def _filters(wanted: str) -> tuple[ConversationFilter, ...]:
    """Tell what a filter may mean, the likeliest first; nothing for what is none."""
    if wanted.lower() == ALL:
        return (ConversationFilter(),)
    if wanted.lower() in [state.value for state in ConversationState]:
        return (ConversationFilter(state=ConversationState(wanted.lower())),)
    if wanted.isascii() and wanted.isdigit():
        return (ConversationFilter(user=wanted), ConversationFilter(channel=wanted))
    subject = subject_of(wanted)
    match subject.kind if subject else None:
        case SubjectKind.USER if subject:
            return (ConversationFilter(user=subject.id),)
        case SubjectKind.CHANNEL if subject:
            return (ConversationFilter(channel=subject.id),)
    return ()


async def _listed(parts: Parts, call: CommandCall, which: ConversationFilter, *, count: int) -> list[ConversationSummary]:
    where = call.address
    found: list[ConversationSummary] = []
    while len(found) < count:
        page = await parts.store.conversations(
            where.platform,
            where.workspace,
            which,
            limit=SUMMARIES,
            before=found[-1].conversation.id if found else None,
        )
        found += page
        if len(page) < SUMMARIES:
            break
    return found[:count]


def _row(summary: ConversationSummary) -> tuple[str, ...]:
    conversation = summary.conversation
    key = conversation.key
    return (
        str(conversation.id),
        key.channel,
        key.thread or "-",
        key.user or "all",
        _messages(summary.messages),
        stamp(conversation.active_at),
        _state(summary).value,
    )


def _messages(count: int) -> str:
    return str(count) if count < MESSAGES_COUNTED else f"{MESSAGES_COUNTED}+"


def _state(listed: ConversationSummary | ConversationRecord) -> ConversationState:
    if listed.conversation.expired_at is not None:
        return ConversationState.EXPIRED
    return ConversationState.CURRENT if listed.conversation.ended_at is None else ConversationState.ENDED


async def show(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show a conversation with its turns, and nothing of what was said."""
    number = _number(given["id"])
    if number is None:
        return say.NO_SUCH_CONVERSATION
    await parts.note(call, target=str(number))
    record = await parts.store.record(call.address.platform, call.address.workspace, number)
    if record is None:
        return say.NO_SUCH_CONVERSATION
    conversation = record.conversation
    key, until = conversation.key, parts.kept_until(conversation)
    rows = [
        ("conversation", f"{conversation.id}, {_state(record).value}"),
        ("where", f"{key.channel}{f', thread {key.thread}' if key.thread else ''}"),
        ("of", key.user or "everybody there"),
        ("people", excerpt(", ".join(record.people)) or "-"),
        ("messages", _messages(record.messages)),
        ("begun", moment(conversation.created_at)),
        ("last active", moment(conversation.active_at)),
        ("kept until", "for ever" if until is None else moment(until)),
        ("persona", "their own" if conversation.persona else "-"),
    ]
    header = ("turn", "state", "tries", "queued", "waited", "first text", "took", "model", "tokens", "cost", "error")
    turns = columns(header, [_turn(turn) for turn in record.turns]) if record.turns else "no turns"
    return f"{facts(rows)}\n\n{turns}"


def _turn(turn: TurnRecord) -> tuple[str, ...]:
    return (
        str(turn.id),
        turn.state.value,
        str(turn.attempts),
        stamp(turn.queued_at),
        _between(turn.queued_at, turn.started_at),
        _between(turn.started_at, turn.first_shown_at),
        _between(turn.started_at, turn.settled_at),
        turn.model or "-",
        f"{turn.prompt_tokens}+{turn.completion_tokens}",
        format_money(turn.money),
        turn.error or "-",
    )


def _between(first: datetime | None, second: datetime | None) -> str:
    if first is None or second is None:
        return "-"
    return f"{max((second - first).total_seconds(), 0):.1f} s"


async def forget(parts: Parts, call: CommandCall, given: Given) -> str:
    """Set a conversation aside, to be erased when its time to be restored is over."""
    number = _number(given["id"])
    if number is None:
        return say.NOT_TO_FORGET
    await parts.note(call, target=str(number))
    if not await parts.store.expire_now(call.address.platform, call.address.workspace, number, at=parts.clock.now()):
        return say.NOT_TO_FORGET
    await parts.turns.stop(number)
    return say.set_aside(number, parts.purge_after)


async def restore(parts: Parts, call: CommandCall, given: Given) -> str:
    """Have a conversation back that expired."""
    number = _number(given["id"])
    if number is None:
        return say.NOT_TO_RESTORE
    await parts.note(call, target=str(number))
    if not await parts.store.restore(call.address.platform, call.address.workspace, number, at=parts.clock.now()):
        return say.NOT_TO_RESTORE
    return say.restored(number)


def _number(typed: str) -> int | None:
    """Read a conversation's number; one that no store can hold is one that is not there."""
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) <= 18 else None
