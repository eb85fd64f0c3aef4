"""The composition root: builds Parley from its settings, runs its tasks, and takes it down in good order.

Opening begins with the store, so that a file that can't be used is told before anything else starts. Closing goes the other
way round: intake has stopped by then, running turns get their time, the rest is handed back, the store closes last.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from bot import __version__
from bot.adapters.protocol import Inside
from bot.app_governing import open_configured_store, rules_of, terms_of, turn_settings
from bot.chat.authority import Authority
from bot.chat.commands import Commands
from bot.chat.commands_parts import Parts
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.models import Models
from bot.chat.protocol import Surface
from bot.chat.rules import RuleBook
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from bot.config import Settings
from bot.findings import Finding
from store import Store
from store.open import has_replicas

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parley(Inside):
    """A running installation: what adapters work with, and what works by itself."""

    turns: Turns
    sweeper: Sweeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What operators ask for that only the composition root knows: a line on each platform and each model, and the doctor's
    findings."""

    platforms: Callable[[], Collection[str]]
    models: Callable[[], Collection[str]]
    examine: Callable[[], Awaitable[Collection[Finding]]]


@asynccontextmanager
async def running(
    settings: Settings,
    surfaces: Mapping[str, Surface],
    models: Models,
    clock: Clock,
    rng: random.Random,
    *,
    reports: Reports | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AsyncIterator[Parley]:
    """Run Parley for the platforms of `surfaces` while the body lasts; closes `models` too.

    `reports` left out tells the names of platforms and models alone. `progress` is told how far the opening of the store is,
    when there is much to encrypt.

    Raises:
        StoreRefused, StoreUnavailable: the store can't be opened.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(models.aclose)
        store = await open_configured_store(settings, clock.now, progress)
        stack.push_async_callback(store.aclose)
        rules = await rules_of(settings, store, models.names)
        parley = build(settings, surfaces, store, rules, models, clock, rng, reports or _names(surfaces, models))
        tasks = [
            asyncio.create_task(parley.turns.run(), name="turns"),
            asyncio.create_task(parley.sweeper.run(), name="sweeper"),
            asyncio.create_task(rules.watch(clock), name="rules"),
        ]
        log.info("app.started", version=__version__, platforms=sorted(surfaces), model=models.default.name)
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
    rules: RuleBook,
    models: Models,
    clock: Clock,
    rng: random.Random,
    reports: Reports,
) -> Parley:
    """Put the parts together; nothing runs yet."""
    terms = terms_of(rules, models)
    how = turn_settings(settings, models)
    sharing = store if has_replicas(settings.database_url.get_secret_value()) else None
    turns = Turns(store, models.default, surfaces, how, clock, terms=terms, sharing=sharing)
    turns.obey(rules)
    sweeper = Sweeper(
        store,
        clock,
        rng,
        rules,
        purge_after=settings.purge_after,
        interval=settings.sweep_interval,
        audit_ttl=settings.audit_ttl,
    )
    operators = {str(operator) for operator in settings.operators}
    authority = Authority(store, rules, clock, operators=operators, owners=settings.owners_operate)
    commands = Commands(
        Parts(
            store=store,
            turns=turns,
            sweeper=sweeper,
            rules=rules,
            authority=authority,
            clock=clock,
            platforms=reports.platforms,
            models=reports.models,
            examine=reports.examine,
            purge_after=settings.purge_after,
            unpriced=how.prices.missing(models.names),
            version=__version__,
            began=clock.now(),
        )
    )
    intake = Intake(
        store,
        rules,
        authority,
        clock,
        characters=settings.message_characters,
        accept=turns.accept,
        revised=turns.revised,
        retracted=turns.retracted,
        heard=sweeper.heard,
    )
    return Parley(
        store=store,
        intake=intake,
        turns=turns,
        commands=commands,
        presses=ControlPresses(store, turns, authority),
        rules=rules,
        authority=authority,
        sweeper=sweeper,
    )


def _names(surfaces: Mapping[str, Surface], models: Models) -> Reports:
    async def nothing() -> Collection[Finding]:
        return ()

    return Reports(platforms=lambda: sorted(surfaces), models=lambda: models.names, examine=nothing)
