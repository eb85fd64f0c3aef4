"""What the buttons under an answer do: stop it, ask again, or let it go on where it was cut.

A press is judged by what the store knows of the turn, so buttons work after a restart and on every replica, and pressing one
twice does no harm.
"""

import structlog

from bot.chat import words
from bot.chat.authority import Authority, Rank
from bot.chat.protocol import Control, ControlCall
from bot.chat.turns import Turns
from store import Ending, NewMessage, Store, StoreError, TurnFacts

CONTINUE = "Continue."
"""What is asked in the name of whoever presses the button under a cut answer."""

log = structlog.get_logger(__name__)


class ControlPresses:
    """Carries out what people press."""

    def __init__(self, store: Store, turns: Turns, authority: Authority) -> None:
        self._store = store
        self._turns = turns
        self._authority = authority

    async def press(self, call: ControlCall) -> str:
        """Do what a button says, and return one sentence for who pressed it, "" when all is plain to see; never raises.

        Only those may press whom the answer answers, as long as they may speak, and operators of the workspace. Whoever else
        does is refused, which is written in the log of governing.
        """
        try:
            said = await self._press(call)
        except StoreError as exc:
            log.error("control.failed", control=call.control.value, turn=call.turn_id, reason=str(exc))
            return words.STORE_FAILED
        log.info("control.handled", control=call.control.value, platform=call.address.platform, turn=call.turn_id)
        return said

    async def stop(self, conversation_id: int) -> None:
        """Stop what is under way in a conversation: the platform's own button was pressed, which it shows to whom it likes.

        Raises:
            StoreUnavailable.
        """
        stopped = await self._turns.stop(conversation_id)
        log.info("control.handled", control=Control.STOP.value, conversation=conversation_id, turn=stopped.running)

    async def _press(self, call: ControlCall) -> str:
        caller, target = call.caller, f"turn {call.turn_id}"
        if refusal := await self._authority.authorise(caller, call.control.value, Rank.PERSON, target=target):
            return refusal
        facts = await self._store.facts(call.turn_id)
        if facts is None or not _pressed_where_it_stands(call, facts):
            return words.ANSWER_UNKNOWN
        if call.author_id not in facts.authors:
            if await self._authority.authorise(caller, call.control.value, Rank.OPERATOR, target=target):
                return words.NOT_YOURS
            await self._authority.note(caller, call.control.value, target=target, at=call.at)
        match call.control:
            case Control.STOP:
                return await self._stop(facts)
            case Control.RETRY:
                return await self._retry(facts)
            case Control.CONTINUE:
                return await self._continue(call, facts)

    async def _stop(self, facts: TurnFacts) -> str:
        if facts.state.final:
            return words.NOTHING_TO_STOP
        stopped = await self._turns.stop(facts.conversation.id)
        return words.NOTHING_TO_STOP if stopped.running is None and stopped.queued is None else ""

    async def _retry(self, facts: TurnFacts) -> str:
        if not _newest(facts):
            return words.NOT_THE_NEWEST
        return "" if await self._turns.retry(facts.conversation.id) else words.STILL_ON_ITS_WAY

    async def _continue(self, call: ControlCall, facts: TurnFacts) -> str:
        if not _newest(facts):
            return words.NOT_THE_NEWEST
        if not facts.state.final:
            return words.STILL_ON_ITS_WAY
        if facts.ending is not Ending.LENGTH:
            return words.NOT_CUT
        await self._turns.accept(
            NewMessage(
                key=facts.conversation.key,
                event_id="",
                # The answer is continued once, however often and by whomever the button is pressed.
                message_id=f"continue-{call.turn_id}",
                position=call.position,
                author_id=call.author_id,
                author_name=call.author_name,
                text=CONTINUE,
                address=call.address.encode(),
                at=call.at,
            )
        )
        return ""


def _pressed_where_it_stands(call: ControlCall, facts: TurnFacts) -> bool:
    """A turn's number says nothing elsewhere: who makes one up reaches no other place's conversations."""
    key, where = facts.conversation.key, call.address
    return (key.platform, key.workspace, key.channel) == (where.platform, where.workspace, where.channel)


def _newest(facts: TurnFacts) -> bool:
    return facts.latest and facts.conversation.ended_at is None and facts.conversation.expired_at is None
