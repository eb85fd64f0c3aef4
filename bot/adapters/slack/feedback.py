"""The two feedback buttons under a finished answer: what somebody thinks of it is kept with its turn.

Whoever sees an answer and may speak there may say so, and what they said last counts.
"""

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.context.respond.async_respond import AsyncRespond

from bot.adapters.slack.action_ids import FEEDBACK_ACTION, FEEDBACK_VALUE
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Body, Interactions, actor_of
from bot.adapters.slack.private_replies import respond_with
from bot.adapters.slack.standing import Standings
from bot.chat import words
from bot.chat.authority import Authority, Rank
from bot.chat.protocol import Address, CommandReply
from bot.clock import Clock
from store import Feedback, Store, StoreError, TurnFacts

ACTION = "feedback"
"""What the log of governing calls it."""

log = structlog.get_logger(__name__)


class FeedbackButtons:
    """Keeps what people think of answers."""

    def __init__(
        self, store: Store, *, authority: Authority, standings: Standings, clock: Clock, interactions: Interactions
    ) -> None:
        self._store = store
        self._authority = authority
        self._standings = standings
        self._clock = clock
        self._interactions = interactions

    def listen(self, app: AsyncApp) -> None:
        """Take what people press."""
        app.action(FEEDBACK_ACTION)(self.take)

    async def take(self, ack: AsyncAck, body: Body, context: AsyncBoltContext, respond: AsyncRespond) -> None:
        """Acknowledge a press and keep it afterwards."""
        await ack()
        thread = actor_of(body, context).address.thread
        self._interactions.begin(
            "feedback", body, lambda: respond_with(respond, lambda: self._keep(body, context), thread=thread)
        )

    async def _keep(self, body: Body, context: AsyncBoltContext) -> CommandReply:
        (action, *_) = body["actions"]
        value = FEEDBACK_VALUE.fullmatch(str(action.get("value")))
        if value is None:
            return CommandReply(text=words.ANSWER_UNKNOWN)
        actor, turn_id = actor_of(body, context), int(value["turn"])
        standing = await self._standings.standing(actor.address.workspace, actor.author_id, team=actor.team)
        refused = await self._authority.authorise(actor.caller(standing), ACTION, Rank.PERSON, target=str(turn_id))
        if refused:
            return CommandReply(text=refused)
        try:
            facts = await self._store.facts(turn_id)
            if facts is None or not _stands_where(actor.address, facts):
                return CommandReply(text=words.ANSWER_UNKNOWN)
            await self._store.put_feedback(turn_id, actor.author_id, Feedback(value["verdict"]), at=self._clock.now())
        except StoreError as exc:
            log.error("feedback.failed", turn=turn_id, reason=str(exc))
            return CommandReply(text=words.STORE_FAILED)
        log.info("feedback.kept", turn=turn_id, value=value["verdict"])
        return CommandReply(text=words.FEEDBACK_KEPT)


def _stands_where(pressed: Address, facts: TurnFacts) -> bool:
    """A turn's number says nothing elsewhere: who makes one up reaches no other place's answers."""
    key = facts.conversation.key
    return (key.platform, key.workspace, key.channel) == (PLATFORM, pressed.workspace, pressed.channel)
