"""The one door in: what people say, change and delete is judged, and kept by one transaction, before it is acknowledged."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import structlog

from bot.chat import words
from bot.chat.authority import Authority
from bot.chat.composing import attachments_of, compose
from bot.chat.policy import BOT_WINDOW, Rules, Trigger, address_of, bots_have_had_their_turns, concerns_us, key_of
from bot.chat.protocol import IncomingMessage, Place
from bot.chat.rules import RuleBook
from bot.chat.seldom import Seldom
from bot.chat.words_governing import PAUSED_NOTICE
from bot.clock import Clock
from store import Conversation, ConversationKey, MessageName, NewMessage, Redo, Store, StoreUnavailable, UnstorableText

NOTICES_EVERY = timedelta(minutes=10)
"""A person is told once in this time that they may not speak in a channel, a channel that the bot is paused."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What became of a message, or of its edit."""

    TAKEN = "taken"
    REVISED = "revised"
    KNOWN = "known"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict on a message; `notice` is what its author is to be told, if anything: `aside`, where the platform can, if
    it is nobody else's business."""

    verdict: Verdict
    conversation_id: int | None = None
    notice: str = ""
    aside: bool = False


IGNORED = Outcome(verdict=Verdict.IGNORED)


class Intake:
    """Judges messages and stores those that concern the bot, of people who may speak.

    While the bot is paused, messages are taken in all the same, and answered when it is resumed. When one of its calls
    returns, all of it is stored for good or will never be; only then is it acknowledged.

    Raises (all methods):
        StoreUnavailable: nothing was taken. The platform must not be told that it was: it delivers again.
    """

    def __init__(
        self,
        store: Store,
        rules: RuleBook,
        authority: Authority,
        clock: Clock,
        *,
        characters: int,
        accept: Callable[[NewMessage], Awaitable[int | None]],
        revised: Callable[[int], None],
        retracted: Callable[[Collection[int]], None],
        heard: Callable[[datetime], None] = lambda sent_at: None,
    ) -> None:
        """`characters` is the longest message taken; `accept` stores it, as `Store.accept`, and sees to its answer.

        `revised` is told the conversation of an edit whose turn is carried out anew, `retracted` those of deleted messages,
        `heard` when each message was sent, by its platform's clock.
        """
        self._store = store
        self._book = rules
        self._authority = authority
        self._clock = clock
        self._notices = Seldom(clock, NOTICES_EVERY)
        self._characters = characters
        self._accept = accept
        self._revised = revised
        self._retracted = retracted
        self._heard = heard

    async def concerns_us(self, message: IncomingMessage) -> bool:
        """Tell whether a message is for the bot where it was said; the store is asked in threads only.

        Whether its author may speak is asked when it is taken: until then nobody need know more of them than their id.
        """
        rules = self._rules(message)
        if concerns_us(message, rules, taking_part=False):
            return True
        if not concerns_us(message, rules, taking_part=True):
            return False
        key = key_of(message.place, message.address, message.author_id, rules, message_id=message.message_id)
        return await self._store.find(key) is not None

    async def is_unanswered(self, message: IncomingMessage) -> bool:
        """Tell whether a person who may speak said something to the bot that was never taken in."""
        if message.from_bot or self._authority.may_speak(message.caller) or not await self.concerns_us(message):
            return False
        return await self._store.locate(_name(message, message.message_id)) is None

    async def take(self, message: IncomingMessage) -> Outcome:
        """Take a message in; a reply to one of our messages goes to that one's conversation, whoever replies."""
        self._heard(message.sent_at)
        rules = self._rules(message)
        # Most of what is said in a server is none of our business; that costs no round trip.
        if not concerns_us(message, rules, taking_part=True):
            return IGNORED
        if refusal := self._authority.may_speak(message.caller):
            return await self._refused(message, refusal)
        answered = await self._answered(message)
        if answered is None:
            key = key_of(message.place, message.address, message.author_id, rules, message_id=message.message_id)
            address, quotes = address_of(message, rules), message.quotes
        else:
            # What was replied to stands in that conversation already. The answer goes where the reply was said.
            key, address, quotes = answered.key, message.address, message.quotes[1:]
        if not concerns_us(message, rules, taking_part=False) and await self._store.find(key) is None:
            return IGNORED
        if message.from_bot and await self._bots_have_had_their_turns(key):
            return IGNORED
        text = compose(message.text, quotes, files=bool(message.files))
        if notice := self._objection(message, text):
            return Outcome(verdict=Verdict.REFUSED, notice=notice)
        try:
            conversation_id = await self._accept(
                NewMessage(
                    key=key,
                    event_id=message.event_id,
                    message_id=message.message_id,
                    position=message.position,
                    author_id=message.author_id,
                    author_name=message.author_name,
                    text=text,
                    address=address.encode(),
                    at=message.sent_at,
                    from_bot=message.from_bot,
                    attachments=attachments_of(message.files),
                )
            )
        except UnstorableText:
            return Outcome(verdict=Verdict.REFUSED, notice=words.UNSTORABLE)
        if conversation_id is None:
            log.info("intake.known", platform=key.platform)
            return Outcome(verdict=Verdict.KNOWN)
        log.info("intake.accepted", platform=key.platform, conversation=conversation_id, characters=len(text))
        return Outcome(verdict=Verdict.TAKEN, conversation_id=conversation_id, notice=await self._pause_notice(message))

    async def edited(self, message: IncomingMessage) -> Outcome:
        """Take in the new text of a message; one that was not taken before, and speaks to the bot now, is taken as new.

        An edit to nothing, one where nothing is answered or its author may not speak by now, and a bot's edit of a message
        that was taken, are ignored: bots that write their answers bit by bit would make us begin ours again each time, and
        two of them would never end.
        """
        if self._authority.may_speak(message.caller):
            return IGNORED
        name = _name(message, message.message_id)
        own = await self._store.locate(name)
        if own is None:
            return await self.take(message) if message.addressed or message.place is Place.DIRECT else IGNORED
        quotes = message.quotes
        if message.answers:
            answered = await self._store.locate(_name(message, message.answers))
            # As when it was taken: then the reply went to that conversation, and its quote was left out.
            if answered is not None and answered.conversation.id == own.conversation.id:
                quotes = quotes[1:]
        text = compose(message.text, quotes, files=bool(message.files))
        if message.from_bot or not text or self._rules(message).trigger is Trigger.OFF:
            return IGNORED
        if notice := self._objection(message, text):
            return Outcome(verdict=Verdict.REFUSED, notice=notice)
        try:
            revised = await self._store.revise(name, text)
        except UnstorableText:
            return Outcome(verdict=Verdict.REFUSED, notice=words.UNSTORABLE)
        if revised is None:
            return IGNORED
        if revised.redo is Redo.SAME:
            return Outcome(verdict=Verdict.KNOWN, conversation_id=revised.conversation_id)
        log.info("intake.revised", platform=name.platform, conversation=revised.conversation_id, redo=revised.redo.name)
        if revised.redo is Redo.AGAIN:
            self._revised(revised.conversation_id)
        return Outcome(verdict=Verdict.REVISED, conversation_id=revised.conversation_id)

    async def deleted(self, names: Collection[MessageName]) -> None:
        """Erase messages that were deleted on their platform, and take back the answers that came of them alone."""
        conversations = await self._store.retract(names)
        if conversations:
            log.info("intake.retracted", messages=len(names), conversations=list(conversations))
            self._retracted(conversations)

    async def gone(self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime) -> None:
        """Close the conversations of a workspace, a channel or a thread that is not there any more; may be repeated."""
        closed = await self._store.close(platform, workspace, channel, thread, at=at)
        await self._store.unmark(platform, workspace, channel, thread)
        log.info(
            "intake.gone", platform=platform, workspace=workspace, channel=channel, thread=thread, conversations=len(closed)
        )

    def _rules(self, message: IncomingMessage) -> Rules:
        where = message.address
        return self._book.of(where.platform, where.workspace, where.channel)

    async def _refused(self, message: IncomingMessage, why: str) -> Outcome:
        """Refuse who may not speak. Who spoke to others, and bots, hear nothing of it; people hear it now and then."""
        if message.from_bot or not (message.addressed or message.place is Place.DIRECT):
            return IGNORED
        where = message.address
        due = await self._due(where.platform, where.workspace, where.channel, message.author_id)
        log.info("intake.refused", platform=where.platform)
        return Outcome(verdict=Verdict.REFUSED, notice=why if due else "", aside=True)

    async def _pause_notice(self, message: IncomingMessage) -> str:
        where = message.address
        channel = (where.platform, where.workspace, where.channel)
        paused = not message.from_bot and self._book.paused(*channel)
        return PAUSED_NOTICE if paused and await self._due(*channel) else ""

    async def _due(self, *name: str) -> bool:
        """Tell whether a notice is due: the last one of ours is `NOTICES_EVERY` ago, and in this stretch of so much time no
        other replica had the same to say."""
        if not self._notices.due(name):
            return False
        now = self._clock.now()
        try:
            return await self._store.once(" ".join(("notice", *name, str((now - _EPOCH) // NOTICES_EVERY))), at=now)
        except StoreUnavailable:  # said twice is better than not at all
            return True

    async def _answered(self, message: IncomingMessage) -> Conversation | None:
        """Return the conversation of the message that this one replies to, if people still talk in it."""
        if not message.answers:
            return None
        located = await self._store.locate(_name(message, message.answers))
        if located is None or located.conversation.ended_at or located.conversation.expired_at:
            return None
        return located.conversation

    async def _bots_have_had_their_turns(self, key: ConversationKey) -> bool:
        conversation = await self._store.find(key)
        return conversation is not None and bots_have_had_their_turns(await self._store.recent(conversation.id, BOT_WINDOW))

    def _objection(self, message: IncomingMessage, text: str) -> str:
        """Say why a message is not taken; "" when it is. Its length is what its author wrote, not what they quote."""
        if not text:
            return words.EMPTY_MESSAGE
        if len(message.text) > self._characters:
            return words.too_long(len(message.text), self._characters)
        return ""


def _name(message: IncomingMessage, message_id: str) -> MessageName:
    where = message.address
    return MessageName(platform=where.platform, workspace=where.workspace, channel=where.channel, id=message_id)
