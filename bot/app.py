"""The composition root: builds Parley from its settings, runs its tasks, and takes it down in good order.

Opening begins with the store, so that a file that can't be used is told before anything else starts. Closing goes the other
way round: intake has stopped by then, running turns get their time, the rest is handed back, the store closes last.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from bot import __version__
from bot.adapters.protocol import Inside
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.policy import Rules
from bot.chat.protocol import IncomingMessage, Surface
from bot.chat.rules import RuleBook
from bot.chat.run import TurnSettings
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from bot.config import Settings
from bot.llm.protocol import LLMClient
from store import Store, open_store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parley(Inside):
    """A running installation: what adapters work with, and what works by itself."""

    turns: Turns
    sweeper: Sweeper


@asynccontextmanager
async def running(
    settings: Settings,
    surfaces: Mapping[str, Surface],
    model: LLMClient,
    clock: Clock,
    rng: random.Random,
    *,
    platforms: Callable[[], Collection[str]] | None = None,
) -> AsyncIterator[Parley]:
    """Run Parley for the platforms of `surfaces` while the body lasts; closes `model` too.

    `platforms` tells operators how each of them is; left out, it gives their names.

    Raises:
        StoreRefused, StoreUnavailable: the store can't be opened.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(model.aclose)
        store = await open_store(settings.database_url.get_secret_value(), clock=clock.now)
        stack.push_async_callback(store.aclose)
        parley = build(settings, surfaces, store, model, clock, rng, platforms or (lambda: sorted(surfaces)))
        for platform in surfaces:
            await parley.rules.load(platform)
        tasks = [
            asyncio.create_task(parley.turns.run(), name="turns"),
            asyncio.create_task(parley.sweeper.run(), name="sweeper"),
        ]
        log.info("app.started", version=__version__, platforms=sorted(surfaces), model=model.name)
        try:
            yield parley
        finally:
            await parley.turns.drain(settings.drain)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            log.info("app.stopped")


def build(
    settings: Settings,
    surfaces: Mapping[str, Surface],
    store: Store,
    model: LLMClient,
    clock: Clock,
    rng: random.Random,
    platforms: Callable[[], Collection[str]],
) -> Parley:
    """Put the parts together; nothing runs yet."""
    turns = Turns(
        store,
        model,
        surfaces,
        TurnSettings(
            system_prompt=settings.system_prompt,
            history_messages=settings.history_messages,
            history_tokens=settings.history_tokens,
            steady_window=settings.provider == "local",
            concurrent=settings.max_concurrent_turns,
            sees_images=settings.sees_images,
        ),
        clock,
    )
    sweeper = Sweeper(
        store,
        clock,
        rng,
        ttl=settings.conversation_ttl,
        purge_after=settings.purge_after,
        interval=settings.sweep_interval,
    )
    operators = {str(operator) for operator in settings.operators}
    rules = RuleBook(store, Rules())
    commands = Commands(
        store,
        turns,
        sweeper,
        rules,
        clock,
        operators=operators,
        platforms=platforms,
        model=model.name,
        ttl=settings.conversation_ttl,
        version=__version__,
    )

    def rules_of(message: IncomingMessage) -> Rules:
        return rules.of(message.address.platform, message.address.workspace, message.address.channel)

    intake = Intake(
        store,
        rules=rules_of,
        characters=settings.message_characters,
        accept=turns.accept,
        revised=turns.revised,
        retracted=turns.retracted,
    )
    presses = ControlPresses(store, turns, operators=operators)
    return Parley(store=store, intake=intake, turns=turns, commands=commands, presses=presses, rules=rules, sweeper=sweeper)
