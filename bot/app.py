"""The composition root: builds Parley from its settings, runs its tasks, and takes it down in good order.

Opening begins with the store, so that a file that can't be used is told before anything else starts. Closing goes the other
way round: intake has stopped by then, running turns get their time, the rest is handed back, the store closes last.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from bot import __version__
from bot.chat.commands import Commands
from bot.chat.intake import Intake
from bot.chat.policy import Rules
from bot.chat.protocol import Surface
from bot.chat.run import TurnSettings
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from bot.config import Settings
from bot.llm.protocol import LLMClient
from store import Store, open_store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parley:
    """A running installation, as adapters and the web side see it."""

    store: Store
    intake: Intake
    turns: Turns
    commands: Commands
    sweeper: Sweeper


@asynccontextmanager
async def running(
    settings: Settings, surfaces: Mapping[str, Surface], model: LLMClient, clock: Clock, rng: random.Random
) -> AsyncIterator[Parley]:
    """Run Parley for the platforms of `surfaces` while the body lasts; closes `model` too.

    Raises:
        StoreRefused, StoreUnavailable: the store can't be opened.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(model.aclose)
        store = await open_store(settings.database_url.get_secret_value(), clock=clock.now)
        stack.push_async_callback(store.aclose)
        parley = build(settings, surfaces, store, model, clock, rng)
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
    settings: Settings, surfaces: Mapping[str, Surface], store: Store, model: LLMClient, clock: Clock, rng: random.Random
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
    commands = Commands(
        store,
        turns,
        sweeper,
        clock,
        operators={str(operator) for operator in settings.operators},
        platforms=sorted(surfaces),
        model=model.name,
        ttl=settings.conversation_ttl,
        version=__version__,
    )
    intake = Intake(store, rules=lambda message: Rules(), characters=settings.message_characters, accept=turns.accept)
    return Parley(store=store, intake=intake, turns=turns, commands=commands, sweeper=sweeper)
