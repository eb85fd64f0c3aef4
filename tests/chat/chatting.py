"""A whole chat in one process: the real store in memory, the real turns, a scripted model, a surface that keeps state."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.chat.authority import Authority
from bot.chat.callers import MEMBER, Kind, Standing
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake, Outcome
from bot.chat.policy import Rules
from bot.chat.protocol import Address, FileOffer, IncomingMessage, Place, Quote
from bot.chat.rules import DEFAULT, Defaults, RuleBook
from bot.chat.run import TurnSettings
from bot.chat.terms import TermsOf
from bot.chat.turns import Turns
from bot.llm.scripted import ScriptedModel
from store import ON, PAUSED, AuditEntry, ConversationKey, Message, Setting, Store, open_store
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface

PLATFORM = "fake"
KITCHEN = Address(platform=PLATFORM, workspace="w", channel="kitchen")
BOT = Standing(kind=Kind.BOT)
SETTINGS = TurnSettings(system_prompt="Be kind.", history_messages=20, history_tokens=8000, concurrent=32)


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Wait for what other tasks and the store's thread will do; real time passes, but nothing depends on how much."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"never came true: {what or condition}")


async def cancelled(task: asyncio.Task[None], clock: FakeClock) -> None:
    """Cancel the worker and let time pass until it is gone: a write under way is given some."""
    task.cancel()
    while not task.done():
        await clock.advance(timedelta(milliseconds=500))
        await asyncio.sleep(0.001)


@dataclass
class Chat:
    """People, the bot and its platform."""

    store: Store
    model: ScriptedModel
    surface: FakeSurface
    clock: FakeClock
    turns: Turns
    rules: RuleBook
    authority: Authority
    intake: Intake
    presses: ControlPresses
    count: int = 0
    task: asyncio.Task[None] | None = None
    order: list[int] = field(default_factory=list)

    async def say(self, text: str, **parts: Any) -> Outcome:
        return await self.intake.take(self.message(text, **parts))

    def message(
        self,
        text: str,
        *,
        user: str = "ada",
        channel: str = "kitchen",
        event: str | None = None,
        position: int | None = None,
        place: Place = Place.CHANNEL,
        thread: str = "",
        addressed: bool = True,
        standing: Standing | None = None,
        category: str = "",
        from_bot: bool = False,
        answers: str = "",
        quotes: tuple[Quote, ...] = (),
        files: tuple[FileOffer, ...] = (),
    ) -> IncomingMessage:
        """Write a message; its number, which is its position and names it, is the next one unless it is given."""
        self.count += 1
        number = position if position is not None else self.count
        return IncomingMessage(
            place=place,
            address=Address(platform=PLATFORM, workspace="w", channel=channel, thread=thread, reply_to=f"m{number}"),
            event_id=event or f"e{number}",
            message_id=f"m{number}",
            position=number,
            author_id=user,
            author_name=user.title(),
            text=text,
            sent_at=START,
            standing=standing or (BOT if from_bot else MEMBER),
            addressed=addressed,
            category=category,
            from_bot=from_bot,
            answers=answers,
            quotes=quotes,
            files=files,
        )

    async def choose(
        self, name: str, value: str, *, subject: str = "", channel: str = "", platform: str = PLATFORM, workspace: str = "w"
    ) -> str:
        """Have an operator choose a setting."""
        setting = Setting(platform=platform, workspace=workspace, channel=channel, subject=subject, name=name, value=value)
        return await self.rules.set(setting, author_id="olga", action="test", at=self.clock.now())

    async def pause(self, *, channel: str = "") -> None:
        await self.choose(PAUSED, ON, channel=channel)

    async def resume(self, *, channel: str = "") -> None:
        await self.choose(PAUSED, DEFAULT, channel=channel)

    async def audited(self) -> list[AuditEntry]:
        """What the log of governing says of the workspace, the oldest first."""
        return list(reversed(await self.store.audit_log(PLATFORM, "w", limit=100)))

    def key(self, *, user: str = "ada", channel: str = "kitchen") -> ConversationKey:
        return ConversationKey(platform=PLATFORM, workspace="w", channel=channel, user=user)

    async def history(self, *, user: str = "ada", channel: str = "kitchen") -> list[tuple[str, str]]:
        conversation = await self.store.find(self.key(user=user, channel=channel))
        if conversation is None:
            return []
        messages: tuple[Message, ...] = await self.store.recent(conversation.id, 1000)
        return [(message.role.value, message.text) for message in messages]

    async def quiet(self) -> None:
        """Wait until every turn is settled."""

        async def settled() -> bool:
            status = await self.store.status()
            return status.queued == 0 and status.running == 0 and self.turns.running == 0

        for _ in range(5000):
            if await settled():
                return
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.001)
        raise AssertionError("the turns never settled")


@asynccontextmanager
async def chatting(
    *steps: object,
    store: Store | None = None,
    surface: FakeSurface | None = None,
    clock: FakeClock | None = None,
    rules: Rules | None = None,
    defaults: Defaults | None = None,
    operators: Collection[str] = (),
    terms: TermsOf | None = None,
    settings: TurnSettings = SETTINGS,
    characters: int = 16000,
    working: bool = True,
) -> AsyncIterator[Chat]:
    """Open a chat whose model plays `steps`; without `working` nobody carries out turns yet.

    `rules` hold where nothing was chosen, or `defaults` with all else of the environment.
    """
    clock = clock or FakeClock()
    own_store = store is None
    store = store or await open_store("sqlite:///:memory:", clock=clock.now)
    model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
    surface = surface or FakeSurface(clock=clock)
    turns = Turns(store, model, {PLATFORM: surface}, settings, clock, terms=terms)
    book = RuleBook(store, defaults or Defaults(rules=rules or Rules()))
    await book.load(PLATFORM)
    turns.obey(book)
    authority = Authority(store, book, clock, operators=operators)
    intake = Intake(
        store,
        book,
        authority,
        clock,
        characters=characters,
        accept=turns.accept,
        revised=turns.revised,
        retracted=turns.retracted,
    )
    presses = ControlPresses(store, turns, authority)
    chat = Chat(
        store=store,
        model=model,
        surface=surface,
        clock=clock,
        turns=turns,
        rules=book,
        authority=authority,
        intake=intake,
        presses=presses,
    )
    if working:
        chat.task = asyncio.create_task(turns.run())
    try:
        yield chat
    finally:
        if chat.task is not None:
            await cancelled(chat.task, clock)
        if own_store:
            await store.aclose()
