"""Slash commands: `/chat` and `/parley`, the command table's two groups, with its names as their first word.

Slack has no slash commands in threads; there the same words are typed as text (`bot.adapters.slack.typed_commands`).
"""

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.context.respond.async_respond import AsyncRespond

from bot.adapters.slack.inbound import PLATFORM, argument
from bot.adapters.slack.interactions import Body, Interactions, actor_of
from bot.adapters.slack.private_replies import respond_with
from bot.adapters.slack.reply_files import ReplyFiles
from bot.adapters.slack.standing import Standings
from bot.chat.commands import TABLE, Commands, Group
from bot.chat.policy import key_of
from bot.chat.protocol import CommandCall, CommandReply
from bot.chat.rules import RuleBook
from bot.clock import Clock


class SlashCommands:
    """Hands calls to the table."""

    def __init__(
        self,
        commands: Commands,
        *,
        standings: Standings,
        files: ReplyFiles,
        rules: RuleBook,
        clock: Clock,
        interactions: Interactions,
    ) -> None:
        self._commands = commands
        self._standings = standings
        self._files = files
        self._rules = rules
        self._clock = clock
        self._interactions = interactions

    def listen(self, app: AsyncApp) -> None:
        """Take what people type."""
        app.command("/chat")(self.take)
        app.command("/parley")(self.take)

    async def take(self, ack: AsyncAck, body: Body, context: AsyncBoltContext, respond: AsyncRespond) -> None:
        """Acknowledge a call and answer it afterwards."""
        await ack()
        self._interactions.begin("command", body, lambda: respond_with(respond, lambda: self._reply(body, context)))

    async def _reply(self, body: Body, context: AsyncBoltContext) -> CommandReply:
        name, _, line = str(body.get("text") or "").strip().partition(" ")
        group = Group(str(body["command"]).removeprefix("/"))
        row = TABLE.get(f"{group.value} {name.lower()}")
        call = await self._call(row.path if row is not None else name.lower(), argument(line).strip(), body, context)
        if row is None:
            return await self._commands.overview(call, group)
        return await self._files.handed_over(call, await self._commands.handle(call))

    async def _call(self, name: str, line: str, body: Body, context: AsyncBoltContext) -> CommandCall:
        actor = actor_of(body, context)
        where = actor.address
        rules = self._rules.of(PLATFORM, where.workspace, where.channel)
        return CommandCall(
            name=name,
            argument=line,
            place=actor.place,
            key=key_of(actor.place, where, actor.author_id, rules),
            address=where,
            author_id=actor.author_id,
            author_name=str(body.get("user_name") or ""),
            standing=await self._standings.standing(where.workspace, actor.author_id, team=actor.team),
            at=self._clock.now(),
        )
