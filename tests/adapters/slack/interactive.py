"""The real slack-bolt on a fake Slack, with all that people reach by commands, buttons and views, and a real chat behind it.

Everything that is heard goes its real way, by Socket Mode or by HTTP; only catching up on what was missed is left out.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.adapters.slack.app import build_app, hear
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.events import Gate
from bot.adapters.slack.file_facts import FileFacts
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.people import People
from bot.adapters.slack.registration import Registered, register
from bot.adapters.slack.scopes import SCOPES
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.surface import SlackSurface
from bot.adapters.slack.user_groups import UserGroups, named_by
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.chat.authority import Authority
from bot.chat.policy import Rules
from bot.chat.rules import Defaults, RuleBook
from bot.chat.turns import Turns
from bot.llm.scripted import ScriptedModel
from store import Conversation, ConversationKey, Setting, Store, open_store
from tests.adapters.slack.inside import chat_behind
from tests.adapters.slack.showing import answers, text_of
from tests.chat.chatting import SETTINGS, cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.slack import Channel, FakeSlack, Message, User
from tests.fakes_slack.bots import Run, by_socket


@dataclass
class InteractiveBot:
    """The bot, what it remembers, and the Slack it is on."""

    slack: FakeSlack
    olga: User
    store: Store
    model: ScriptedModel
    clock: FakeClock
    turns: Turns
    rules: RuleBook
    authority: Authority
    registered: Registered
    afterwards: Afterwards
    people: People
    groups: UserGroups

    async def choose(self, name: str, value: str, *, channel: Channel | None = None, subject: str = "") -> None:
        """Have an operator choose a setting of the workspace, or of a channel."""
        setting = Setting(
            platform=PLATFORM,
            workspace=self.slack.workspace.id,
            channel=channel.id if channel is not None else "",
            subject=subject,
            name=name,
            value=value,
        )
        await self.rules.set(setting, author_id=self.olga.id, action="test", at=self.clock.now())

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something, which may have to be awaited itself, while the bot's time passes.

        It stands still while Slack is asked who somebody is, unless that hangs: calls may take longer than its seconds.
        """
        patience = 100
        for _ in range(3000):
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            if patience and (self.people.asking or self.groups.asking):
                patience -= 1
            else:
                await self.clock.advance(timedelta(milliseconds=50))
            await asyncio.sleep(0.002)
        raise AssertionError(f"never came true: {inspect.getsource(holds)}")

    async def quiet(self) -> None:
        """Wait until everything was heard, and every turn is settled."""

        async def settled() -> bool:
            status = await self.store.status()
            return self.slack.quiet and status.queued == status.running == self.turns.running == 0

        await self.until(settled)

    async def answered(self, channel: Channel, count: int = 1) -> Message:
        """Wait for so many answers in a channel, and return the last of them, finished."""
        await self.until(lambda: len(answers(channel)) >= count)
        await self.quiet()
        return answers(channel)[-1]

    def key(self, channel: Channel, *, thread: Message | None = None, user: User | None = None) -> ConversationKey:
        return ConversationKey(
            platform=PLATFORM,
            workspace=channel.team.id,
            channel=channel.id,
            thread=thread.ts if thread else "",
            user=user.id if user else "",
        )

    async def conversation(self, channel: Channel, **parts: Message | User | None) -> Conversation | None:
        return await self.store.find(self.key(channel, **parts))  # type: ignore[arg-type]

    async def history(self, channel: Channel, **parts: Message | User | None) -> list[str]:
        conversation = await self.conversation(channel, **parts)
        return [message.text for message in await self.store.recent(conversation.id, 100)] if conversation else []


def texts(channel: Channel) -> list[str]:
    """What everybody reads of the bot there."""
    return [text_of(message) for message in answers(channel)]


def whispers(user: User) -> list[str]:
    """What only this person sees."""
    return [shown.shown for shown in user.ephemerals]


@asynccontextmanager
async def interactive(
    *steps: object,
    slack: FakeSlack | None = None,
    run: Run = by_socket,
    ttl: timedelta | None = None,
    defaults: Defaults | None = None,
    operators: Collection[str] = (),
    database: str = "sqlite:///:memory:",
) -> AsyncIterator[InteractiveBot]:
    """Open a bot whose model plays `steps`, and which the user `olga` may run."""
    clock = FakeClock(start=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        slack = slack or await stack.enter_async_context(FakeSlack(retry_after=(timedelta(),)))
        for team in slack.teams:
            team.scopes = set(SCOPES)  # with what the manifest asks for, everything works
        store = await open_store(database, clock=clock.now)
        stack.push_async_callback(store.aclose)
        clients = SlackClients(clock, base_url=slack.api_url, token=slack.bot_token)
        stack.push_async_callback(clients.close)
        api, people, afterwards = WebApi(clients, clock), People(clients, clock), Afterwards(clock)
        stack.push_async_callback(people.close)
        groups = UserGroups(api, clock)
        stack.push_async_callback(groups.close)
        model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
        surface = SlackSurface(clients, clock, api_base_url=slack.api_url)
        turns = Turns(store, model, {PLATFORM: surface}, SETTINGS, clock)
        rules = RuleBook(store, defaults or Defaults(rules=Rules(ttl=ttl)))
        await rules.load(PLATFORM)
        turns.obey(rules)
        olga = slack.workspace.user("Olga")
        hosts = [f"{PLATFORM}:{slack.workspace.id}/{olga.id}", *operators]
        inside = chat_behind(store, turns, rules, clock, operators=hosts)
        app = build_app(clients)
        standings = Standings(people, groups, clock, named=named_by(rules))
        registered = register(
            app, inside, api=api, lookup=people.names, standings=standings, afterwards=afterwards, clock=clock
        )
        marks = Watermarks(store, clock)
        gate = Gate(
            inside.intake,
            marks,
            people,
            standings,
            FileFacts(api, clock),
            surface,
            afterwards,
            clock,
            api=api,
            rules=lambda workspace, channel: rules.of(PLATFORM, workspace, channel),
            may_speak=inside.authority.may_speak,
            once=lambda name: store.once(name, at=clock.now()),
            typed=registered.typed.take,
        )
        hear(app, gate.take, missed=lambda: None)
        await marks.restore()
        working = asyncio.create_task(turns.run())
        stack.push_async_callback(cancelled, working, clock)
        stack.push_async_callback(afterwards.close)
        await stack.enter_async_context(run(slack, app))
        yield InteractiveBot(
            slack, olga, store, model, clock, turns, rules, inside.authority, registered, afterwards, people, groups
        )
