"""What people reach by commands, buttons, menus and Slack's own views, put on an app."""

from dataclasses import dataclass

from slack_bolt.app.async_app import AsyncApp

from bot.adapters.slack.agent_view import AgentView
from bot.adapters.slack.buttons import ControlButtons
from bot.adapters.slack.feedback import FeedbackButtons
from bot.adapters.slack.home import Home
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards, Interactions, Lookup
from bot.adapters.slack.native_stop import NativeStop
from bot.adapters.slack.shortcut import SummariseThread
from bot.adapters.slack.slash import SlashCommands
from bot.adapters.slack.typed_commands import TypedCommands
from bot.adapters.slack.web_api import WebApi
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.rules import RuleBook
from bot.clock import Clock
from store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What the rest of the adapter works with: `typed` judges messages before the intake does, `native_stop` takes a stop
    that was learnt of in another way than by its event."""

    typed: TypedCommands
    native_stop: NativeStop


def register(
    app: AsyncApp,
    *,
    intake: Intake,
    commands: Commands,
    presses: ControlPresses,
    store: Store,
    rules: RuleBook,
    api: WebApi,
    lookup: Lookup,
    afterwards: Afterwards,
    clock: Clock,
) -> Registered:
    """Let an app take commands, presses, shortcuts and views; listeners for all that is left over come behind these.

    `afterwards` is closed by the caller, once the app takes nothing in any more.
    """
    interactions = Interactions(store, clock, afterwards)
    agent_view = AgentView(api=api, afterwards=afterwards)
    native_stop = NativeStop(presses, store=store, api=api, afterwards=afterwards)
    SlashCommands(commands, rules=rules, clock=clock, interactions=interactions).listen(app)
    ControlButtons(presses, lookup=lookup, clock=clock, interactions=interactions).listen(app)
    FeedbackButtons(store, clock=clock, interactions=interactions).listen(app)
    SummariseThread(intake, lookup=lookup, api=api, interactions=interactions).listen(app)
    Home(commands, agent_view, store=store, api=api, interactions=interactions, afterwards=afterwards).listen(app)
    agent_view.listen(app)
    native_stop.listen(app)
    typed = TypedCommands(
        commands,
        store=store,
        rules=lambda message: rules.of(PLATFORM, message.address.workspace, message.address.channel),
        api=api,
        clock=clock,
        afterwards=afterwards,
    )
    return Registered(typed=typed, native_stop=native_stop)
