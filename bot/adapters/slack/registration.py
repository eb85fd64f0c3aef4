"""What people reach by commands, buttons, menus and Slack's own views, put on an app."""

from dataclasses import dataclass

from slack_bolt.app.async_app import AsyncApp

from bot.adapters.protocol import Inside
from bot.adapters.slack.agent_view import AgentView
from bot.adapters.slack.buttons import ControlButtons
from bot.adapters.slack.feedback import FeedbackButtons
from bot.adapters.slack.home import Home
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards, Interactions, Lookup
from bot.adapters.slack.native_stop import NativeStop
from bot.adapters.slack.reply_files import ReplyFiles
from bot.adapters.slack.shortcut import SummariseThread
from bot.adapters.slack.slash import SlashCommands
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.typed_commands import TypedCommands
from bot.adapters.slack.web_api import WebApi
from bot.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What the rest of the adapter works with: `typed` judges messages before the intake does, `native_stop` takes a stop
    that was learnt of in another way than by its event."""

    typed: TypedCommands
    native_stop: NativeStop


def register(
    app: AsyncApp,
    inside: Inside,
    *,
    api: WebApi,
    lookup: Lookup,
    standings: Standings,
    afterwards: Afterwards,
    clock: Clock,
) -> Registered:
    """Let an app take commands, presses, shortcuts and views; listeners for all that is left over come behind these.

    `afterwards` is closed by the caller, once the app takes nothing in any more.
    """
    store, rules, authority = inside.store, inside.rules, inside.authority
    interactions, files = Interactions(store, clock, afterwards), ReplyFiles(api, clock)
    agent_view = AgentView(api=api, afterwards=afterwards)
    native_stop = NativeStop(inside.presses, store=store, api=api, afterwards=afterwards)
    SlashCommands(
        inside.commands, standings=standings, files=files, rules=rules, clock=clock, interactions=interactions
    ).listen(app)
    ControlButtons(inside.presses, lookup=lookup, standings=standings, clock=clock, interactions=interactions).listen(app)
    FeedbackButtons(store, authority=authority, standings=standings, clock=clock, interactions=interactions).listen(app)
    SummariseThread(
        inside.intake, authority=authority, lookup=lookup, standings=standings, api=api, interactions=interactions
    ).listen(app)
    Home(
        inside.commands,
        agent_view,
        standings=standings,
        store=store,
        api=api,
        interactions=interactions,
        afterwards=afterwards,
    ).listen(app)
    agent_view.listen(app)
    native_stop.listen(app)
    typed = TypedCommands(
        inside.commands,
        authority=authority,
        files=files,
        store=store,
        rules=lambda message: rules.of(PLATFORM, message.address.workspace, message.address.channel),
        api=api,
        clock=clock,
        afterwards=afterwards,
    )
    return Registered(typed=typed, native_stop=native_stop)
