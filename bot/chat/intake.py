"""The one door in: every message of every platform is judged, and taken in by one transaction, before it is acknowledged."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import structlog

from bot.chat import words
from bot.chat.policy import Rules, concerns_us, key_of
from bot.chat.protocol import IncomingMessage, Place
from store import NewMessage, Store, UnstorableText

log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What became of a message."""

    TAKEN = "taken"
    KNOWN = "known"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict on a message; `notice` is what its author is to be told, if anything."""

    verdict: Verdict
    conversation_id: int | None = None
    notice: str = ""


class Intake:
    """Judges messages and stores those that concern the bot."""

    def __init__(
        self,
        store: Store,
        *,
        rules: Callable[[IncomingMessage], Rules],
        characters: int,
        accept: Callable[[NewMessage], Awaitable[int | None]],
    ) -> None:
        """`characters` is the longest message taken; `accept` stores it, as `Store.accept`, and sees to its answer."""
        self._store = store
        self._rules = rules
        self._characters = characters
        self._accept = accept

    async def take(self, message: IncomingMessage) -> Outcome:
        """Take a message in. When this returns, it is stored for good or will never be; only then is it acknowledged.

        Raises:
            StoreUnavailable: nothing was taken. The platform must not be told that it was: it delivers again.
        """
        rules = self._rules(message)
        key = key_of(message, rules)
        thread = message.place is Place.THREAD and not message.addressed
        taking_part = thread and await self._store.find(key) is not None
        if not concerns_us(message, rules, taking_part=taking_part):
            return Outcome(verdict=Verdict.IGNORED)
        if not message.text.strip():
            return Outcome(verdict=Verdict.REFUSED, notice=words.EMPTY_MESSAGE)
        if len(message.text) > self._characters:
            return Outcome(verdict=Verdict.REFUSED, notice=words.too_long(len(message.text), self._characters))
        try:
            conversation_id = await self._accept(
                NewMessage(
                    key=key,
                    event_id=message.event_id,
                    message_id=message.message_id,
                    position=message.position,
                    author_id=message.author_id,
                    author_name=message.author_name,
                    text=message.text,
                    address=message.address.encode(),
                    at=message.sent_at,
                )
            )
        except UnstorableText:
            return Outcome(verdict=Verdict.REFUSED, notice=words.UNSTORABLE)
        if conversation_id is None:
            log.info("intake.known", platform=key.platform)
            return Outcome(verdict=Verdict.KNOWN)
        log.info("intake.accepted", platform=key.platform, conversation=conversation_id, characters=len(message.text))
        return Outcome(verdict=Verdict.TAKEN, conversation_id=conversation_id)
