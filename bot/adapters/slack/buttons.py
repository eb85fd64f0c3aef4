"""The buttons under an answer: a press reaches its turn, also under a message from before a restart.

A button's name says all that there is to know about it (`bot.adapters.slack.action_ids`), so nothing is remembered.
"""

import asyncio

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.context.respond.async_respond import AsyncRespond

from bot.adapters.slack.action_ids import CONTROL_ACTION, CONTROL_VALUE, control_action
from bot.adapters.slack.interactions import Body, Interactions, Lookup, actor_of
from bot.adapters.slack.private_replies import respond_with
from bot.adapters.slack.stamps import position_of
from bot.adapters.slack.standing import Standings
from bot.chat import words
from bot.chat.controls import ControlPresses
from bot.chat.protocol import CommandReply, Control, ControlCall
from bot.clock import Clock


class ControlButtons:
    """Hands presses of Stop, Regenerate and Continue on."""

    def __init__(
        self, presses: ControlPresses, *, lookup: Lookup, standings: Standings, clock: Clock, interactions: Interactions
    ) -> None:
        self._presses = presses
        self._lookup = lookup
        self._standings = standings
        self._clock = clock
        self._interactions = interactions

    def listen(self, app: AsyncApp) -> None:
        """Take what people press."""
        for control in Control:
            app.action(control_action(control))(self.take)

    async def take(self, ack: AsyncAck, body: Body, context: AsyncBoltContext, respond: AsyncRespond) -> None:
        """Acknowledge a press and carry it out afterwards."""
        await ack()
        thread = actor_of(body, context).address.thread
        self._interactions.begin(
            "press", body, lambda: respond_with(respond, lambda: self._press(body, context), thread=thread)
        )

    async def _press(self, body: Body, context: AsyncBoltContext) -> CommandReply:
        (action, *_) = body["actions"]
        control = CONTROL_ACTION.fullmatch(action["action_id"])
        value = CONTROL_VALUE.fullmatch(str(action.get("value")))
        if control is None or value is None:
            return CommandReply(text=words.ANSWER_UNKNOWN)
        actor = actor_of(body, context)
        where = actor.address
        names, standing = await asyncio.gather(
            self._lookup(where.workspace, [actor.author_id]),
            self._standings.standing(where.workspace, actor.author_id, team=actor.team),
        )
        said = await self._presses.press(
            ControlCall(
                control=Control(control["control"]),
                turn_id=int(value["turn"]),
                place=actor.place,
                address=where,
                message_id=f"press-{action['action_ts']}",
                position=position_of(action["action_ts"]),
                author_id=actor.author_id,
                author_name=names.get(actor.author_id),
                standing=standing,
                at=self._clock.now(),
            )
        )
        return CommandReply(text=said)
