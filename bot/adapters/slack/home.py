"""The App Home: a person's conversations, how long each is kept, and buttons that keep it longer or erase it.

A press is the command of the same name, given where the conversation is held. What is kept of people is theirs, so everybody
sees their own, also who may not speak here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.slack.agent_view import AgentView
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards, Body, Interactions, place_of, team_of_actor, workspace_of
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.web_api import WebApi
from bot.chat import commands, words
from bot.chat.callers import Caller
from bot.chat.commands import Commands
from bot.chat.protocol import Place
from store import Conversation, ConversationKey, ConversationSummary, Store, StoreError

SHOWN = 20
"""Conversations of one Home: Slack takes 100 blocks, and nobody reads as many."""
FORGET, EXTEND = "parley_forget", "parley_extend"
ACTIONS = {FORGET: commands.FORGET, EXTEND: commands.KEEP}
"""The commands that the buttons carry out, on the conversation that they stand under."""
DAY, MINUTE = "{date_short_pretty}", "{date_short_pretty} at {time}"
"""How Slack is to write a moment, in the time zone of whoever looks."""

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class Home:
    """Shows everybody what is kept of them, and erases what they want erased."""

    def __init__(
        self,
        commands: Commands,
        agent_view: AgentView,
        *,
        standings: Standings,
        store: Store,
        api: WebApi,
        interactions: Interactions,
        afterwards: Afterwards,
    ) -> None:
        self._commands = commands
        self._agent_view = agent_view
        self._standings = standings
        self._store = store
        self._api = api
        self._interactions = interactions
        self._afterwards = afterwards

    def listen(self, app: AsyncApp) -> None:
        """Take who opens the app, and what they press there."""
        app.event("app_home_opened")(self.take)
        for name in ACTIONS:
            app.action(name)(self.take_press)

    async def take(self, event: Body, context: AsyncBoltContext) -> None:
        """Show the Home; the event is of the app's other tab as well, which is the agent view."""
        if event.get("tab") == "messages":
            self._agent_view.opened(event, context)
            return
        workspace, user = workspace_of(context), str(event["user"])
        self._afterwards.begin("home", lambda: self._publish(workspace, user))

    async def take_press(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        """Acknowledge a press, do what it says afterwards, and show what is so now."""
        await ack()
        self._interactions.begin("home", body, lambda: self._pressed(body, context))

    async def _pressed(self, body: Body, context: AsyncBoltContext) -> None:
        (action, *_) = body["actions"]
        workspace, user, chosen = workspace_of(context), str(context.user_id), str(action.get("value"))
        standing = await self._standings.standing(workspace, user, team=team_of_actor(body))
        caller = Caller(platform=PLATFORM, workspace=workspace, channel="", user_id=user, standing=standing)
        name, said = ACTIONS[str(action["action_id"])], ""
        try:
            for listed in await self._listed(workspace, user):
                # Only what is listed for a person is theirs, whatever number a press brings.
                if str(listed.conversation.id) == chosen:
                    said = await self._commands.on_listed(name, _at(listed.conversation, caller), listed.conversation)
        except StoreError as exc:
            log.error("home.not_done", action=name, reason=str(exc))
            return await self._show(workspace, user, sentence_view(words.STORE_FAILED))
        return await self._publish(workspace, user, said)

    async def _publish(self, workspace: str, user: str, said: str = "") -> None:
        try:
            view = view_of(await self._listed(workspace, user), self._commands.kept_until, said)
        except StoreError as exc:
            log.error("home.not_read", reason=str(exc))
            view = sentence_view(words.STORE_FAILED)
        await self._show(workspace, user, view)

    async def _listed(self, workspace: str, user: str) -> Sequence[ConversationSummary]:
        return await self._store.conversations_of(PLATFORM, workspace, user, limit=SHOWN)

    async def _show(self, workspace: str, user: str, view: Json) -> None:
        await self._api.ask(workspace, lambda client: client.views_publish(user_id=user, view=view))


KeptUntil = Callable[[Conversation], datetime | None]
"""Says when a conversation expires in which nothing is said any more; None for never."""


def view_of(listed: Sequence[ConversationSummary], kept_until: KeptUntil, said: str = "") -> Json:
    """Write a Home that lists conversations, in their order; `said` is what came of a press."""
    blocks: list[Json] = [
        *([_section(said)] if said else []),
        {"type": "header", "text": {"type": "plain_text", "text": words.HOME_TITLE}},
        *(block for summary in listed for block in _entry(summary, kept_until(summary.conversation))),
    ]
    if not listed:
        blocks.append(_section(words.HOME_EMPTY))
    elif len(listed) == SHOWN:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": words.HOME_MORE}]})
    return {"type": "home", "blocks": [*blocks, {"type": "divider"}, _section(words.HOME_INTRO)]}


def _at(conversation: Conversation, caller: Caller) -> Caller:
    """Put a caller where a conversation is held: there it is decided what they may do to it."""
    key = conversation.key
    return replace(caller, channel=key.channel, direct=place_of(key.channel, key.thread) is Place.DIRECT)


def sentence_view(text: str) -> Json:
    """Write a Home that says one thing."""
    return {"type": "home", "blocks": [_section(text)]}


def _entry(summary: ConversationSummary, until: datetime | None) -> list[Json]:
    conversation, count = summary.conversation, summary.messages
    facts = (
        f"{count} {'message' if count == 1 else 'messages'}",
        f"last active {_moment(conversation.active_at, MINUTE)}",
        *(() if conversation.ended_at is None else ("ended",)),
        "kept for ever" if until is None else f"kept until {_moment(until, DAY)}",
    )
    buttons = [_extend(conversation), _forget(conversation)] if until is not None else [_forget(conversation)]
    return [
        _section(f"*{_where(conversation.key)}*\n{' · '.join(facts)}"),
        {"type": "actions", "elements": buttons},
    ]


def _extend(conversation: Conversation) -> Json:
    return {
        "type": "button",
        "action_id": EXTEND,
        "value": str(conversation.id),
        "text": {"type": "plain_text", "text": words.HOME_EXTEND},
    }


def _forget(conversation: Conversation) -> Json:
    return {
        "type": "button",
        "action_id": FORGET,
        "value": str(conversation.id),
        "text": {"type": "plain_text", "text": words.HOME_FORGET},
        "style": "danger",
        "confirm": {
            "title": {"type": "plain_text", "text": words.HOME_FORGET_TITLE},
            "text": {"type": "plain_text", "text": words.HOME_FORGET_TEXT},
            "confirm": {"type": "plain_text", "text": words.HOME_FORGET_YES},
            "deny": {"type": "plain_text", "text": words.HOME_FORGET_NO},
            "style": "danger",
        },
    }


def _where(key: ConversationKey) -> str:
    # Slack writes the channel's name, and hides it from whoever may not see it.
    around = "Direct messages" if place_of(key.channel, "") is Place.DIRECT else f"<#{key.channel}>"
    return f"{around}, in a thread" if key.thread else around


def _moment(moment: datetime, form: str) -> str:
    return f"<!date^{int(moment.timestamp())}^{form}|{moment:%Y-%m-%d %H:%M} UTC>"


def _section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}
