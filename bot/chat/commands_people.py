"""People's commands on their conversation: begin anew, stop, ask again, take back, look back, choose a persona, keep it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from bot.chat import words_commands as say
from bot.chat.callers import Caller
from bot.chat.commands_layout import excerpt, facts
from bot.chat.commands_parts import Parts
from bot.chat.limits import format_amount
from bot.chat.money import format_money
from bot.chat.options import Option, OptionKind
from bot.chat.personas import PERSONA_LENGTH
from bot.chat.protocol import CommandCall
from bot.chat.rules import DEFAULT
from store import Conversation, ConversationNotFound, Limit, Message, Meter, Payer, Period, Role, Unit

HISTORY_DEFAULT = 10
HISTORY_MOST = 50
EXCERPT = 300
"""Characters of each message that `history` shows."""

HISTORY_OPTIONS = (
    Option(
        name="messages",
        summary=f"how many, {HISTORY_DEFAULT} if you don't say",
        kind=OptionKind.INTEGER,
        minimum=1,
        maximum=HISTORY_MOST,
        default=str(HISTORY_DEFAULT),
    ),
)
PERSONA_OPTIONS = (
    Option(
        name="text",
        summary=f"how I am to be here, `{DEFAULT}` takes it back; left out, it is shown",
        longest=PERSONA_LENGTH,
        words=True,
    ),
)
LONGER = "longer"
KEEP_OPTIONS = (Option(name="extend", summary="longer lets its time begin anew", kind=OptionKind.CHOICE, choices=(LONGER,)),)

Given = Mapping[str, str]


async def new(parts: Parts, call: CommandCall, given: Given) -> str:
    """End the conversation; the next message begins another one."""
    del given
    conversation = await parts.store.find(call.key)
    if conversation is None:
        return say.NEW_ALREADY
    await parts.turns.stop(conversation.id)
    await parts.store.end(conversation.id, at=call.at)
    if call.key.thread:
        # In a thread the bot answers without a mention while it has a conversation there.
        await parts.store.get_or_create(call.key, at=call.at)
    return say.begun_anew(parts.ttl(call.key))


async def stop(parts: Parts, call: CommandCall, given: Given) -> str:
    """Stop the answer that is on its way."""
    del given
    conversation = await parts.store.find(call.key)
    if conversation is not None:
        stopped = await parts.turns.stop(conversation.id)
        if stopped.running is not None or stopped.queued is not None:
            return say.STOPPED
    return say.NOTHING_TO_STOP


async def retry(parts: Parts, call: CommandCall, given: Given) -> str:
    """Ask the last question again."""
    del given
    conversation = await parts.store.find(call.key)
    if conversation is not None and await parts.turns.retry(conversation.id):
        return say.ASKING_AGAIN
    return say.NOTHING_TO_ASK


async def undo(parts: Parts, call: CommandCall, given: Given) -> str:
    """Erase the caller's part of the last question, and the answer that came of it alone, on the platform too."""
    del given
    conversation = await parts.store.find(call.key)
    names = () if conversation is None else await parts.store.last_said(conversation.id, call.author_id)
    if not names:
        return say.NOTHING_TO_TAKE_BACK
    parts.turns.retracted(await parts.store.retract(names))
    return say.TAKEN_BACK


async def history(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show what was said last, and until when it is kept."""
    conversation = await parts.store.find(call.key)
    messages = () if conversation is None else await parts.store.recent(conversation.id, int(given["messages"]))
    if conversation is None or not messages:
        return say.NOTHING_SAID
    return "\n".join((*map(_line, messages), say.kept_until(parts.kept_until(conversation))))


async def persona(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show or choose the conversation's own persona."""
    text = given.get("text", "")
    conversation = await parts.store.find(call.key)
    if not text:
        return say.persona_is(conversation.persona) if conversation and conversation.persona else say.NO_PERSONA
    if text.lower() == DEFAULT:
        if conversation is not None:
            await parts.store.put_persona(conversation.id, "")
        return say.PERSONA_TAKEN_BACK
    conversation = conversation or await parts.store.get_or_create(call.key, at=call.at)
    await parts.store.put_persona(conversation.id, text)
    return say.PERSONA_TAKEN


async def keep(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show until when the conversation is kept, or let its time begin anew."""
    conversation = await parts.store.find(call.key)
    if conversation is None:
        return say.NOTHING_SAID
    if given.get("extend") != LONGER:
        return say.kept_until(parts.kept_until(conversation))
    return await keep_longer(parts, call.caller, conversation)


async def keep_longer(parts: Parts, caller: Caller, conversation: Conversation) -> str:
    """Let a conversation's time begin anew. Whoever may speak where it is held may do so."""
    del caller
    now = parts.clock.now()
    try:
        await parts.store.extend(conversation.id, at=now)
    except ConversationNotFound:  # it expired this very moment
        return say.NOTHING_SAID
    ttl = parts.ttl(conversation.key)
    return say.extended(None if ttl is None else now + ttl)


async def usage(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show what the caller spent in this minute and today, against their own limits."""
    del given
    where = call.address
    meters = await parts.store.standing(where.platform, where.workspace, where.channel, call.author_id)
    limits = parts.rules.limits(where.platform, where.workspace, where.channel, call.author_id)
    mine = {meter.period: meter for meter in meters if meter.payer is Payer.USER}
    own = [limit for limit in limits if limit.payer is Payer.USER]
    rows = [(f"{unit.value} today", _spent(unit, Period.DAY, mine, own)) for unit in Unit]
    rows += [
        (f"{limit.unit.value} this minute", _spent(limit.unit, Period.MINUTE, mine, own))
        for limit in own
        if limit.period is Period.MINUTE
    ]
    return f"{facts(rows)}\n{say.day_ends(_rest_of_day(call.at))}"


def _spent(unit: Unit, period: Period, meters: Mapping[Period, Meter], limits: list[Limit]) -> str:
    meter = meters.get(period)
    match unit:
        case Unit.TURNS:
            spent = f"{meter.turns if meter else 0:,}"
        case Unit.TOKENS:
            spent = f"{meter.tokens if meter else 0:,}"
        case Unit.MONEY:
            spent = format_money(meter.money if meter else 0)
    limit = next((limit for limit in limits if limit.unit is unit and limit.period is period), None)
    return spent if limit is None else f"{spent} of {format_amount(limit)}"


def _rest_of_day(now: datetime) -> timedelta:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now


def _line(message: Message) -> str:
    name = "Parley" if message.role is Role.ASSISTANT else message.author_name or "You"
    return f"{name}: {excerpt(message.text, EXCERPT)}"
