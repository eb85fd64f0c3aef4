"""Parley on the platforms that are configured: everything runs until SIGTERM or Ctrl-C, or until a platform refuses us.

Taken down in this order: intake stops, running turns get their time while the platforms can still be written to, then the
platforms' connections close, then the store. Where other replicas take over what this one hears, running turns get their
time meanwhile, and what is still taken in is answered by those.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry

from bot.adapters.protocol import Adapter
from bot.app import Parley, Reports, running
from bot.app_doctor import examine_running
from bot.app_garbage import collecting
from bot.chat.models import Models
from bot.clock import Clock, SystemClock, time_limit
from bot.config import Settings, revealed
from bot.web.server import WebSide
from store.open import has_replicas

STOPPING = timedelta(seconds=5)
"""What an intake has to take in what it has in hand: what it can't is not acknowledged, and delivered again."""

log = structlog.get_logger(__name__)


def build_adapters(settings: Settings, clock: Clock, rng: random.Random) -> list[Adapter]:
    """Build the adapters of the platforms that are configured; an SDK is imported only where it is needed."""
    adapters: list[Adapter] = []
    if settings.discord_token is not None:
        from bot.adapters.discord.adapter import DiscordAdapter

        adapters.append(
            DiscordAdapter(
                settings.discord_token.get_secret_value(),
                api_base_url=settings.discord_api_base_url,
                gateway_url=settings.discord_gateway_url,
                message_content=settings.discord_message_content,
                clock=clock,
                rng=rng,
            )
        )
    if settings.slack_mode is not None:
        from bot.adapters.slack.adapter import Credentials, SlackAdapter

        credentials = Credentials(
            bot_token=revealed(settings.slack_bot_token),
            app_token=revealed(settings.slack_app_token),
            signing_secret=revealed(settings.slack_signing_secret),
            client_id=settings.slack_client_id,
            client_secret=revealed(settings.slack_client_secret),
        )
        adapters.append(
            SlackAdapter(
                credentials,
                clock=clock,
                rng=rng,
                api_base_url=settings.slack_api_base_url,
                replicated=has_replicas(settings.database_url.get_secret_value()),
            )
        )
    return adapters


async def serve(
    settings: Settings,
    models: Models,
    registry: CollectorRegistry,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Run until asked to stop; `progress` as in `running`.

    Raises:
        PlatformRefused: a platform does not want us as we are set up.
        StoreError: the store can't be opened.
        WebError: the web side can't listen.
    """
    asked = _asked_to_stop()  # first of all: who is asked while the store opens ends in good order too
    clock, rng = SystemClock(), random.Random()
    adapters = build_adapters(settings, clock, rng)
    surfaces = {adapter.platform: adapter.surface for adapter in adapters}
    reports = Reports(
        platforms=lambda: [adapter.describe() for adapter in adapters],
        models=models.described,
        examine=lambda: examine_running(settings),
    )
    async with AsyncExitStack() as stack:
        parley = await stack.enter_async_context(
            running(settings, surfaces, models, clock, rng, reports=reports, progress=progress)
        )
        web = _web_side(settings, parley, adapters, registry)
        await web.start()
        stack.push_async_callback(web.aclose)
        await stack.enter_async_context(collecting(clock, lambda: parley.turns.running))
        await _serve_until(asked, settings, parley, adapters, clock)


def _asked_to_stop() -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def _serve_until(
    asked: asyncio.Event, settings: Settings, parley: Parley, adapters: Sequence[Adapter], clock: Clock
) -> None:
    tasks = {asyncio.create_task(adapter.run(parley), name=adapter.platform) for adapter in adapters}
    stop = asyncio.create_task(asked.wait(), name="asked to stop")
    try:
        await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
        ended_first = [task.get_name() for task in tasks if task.done()]
        log.info("app.stopping", reason=f"{', '.join(ended_first)} ended" if ended_first else "asked to")
        await _wind_down(settings.drain, parley, adapters, clock)
    finally:
        stop.cancel()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def _wind_down(drain: timedelta, parley: Parley, adapters: Sequence[Adapter], clock: Clock) -> None:
    intakes = asyncio.gather(*(_hand_over(adapter, max(drain - STOPPING, drain / 2), clock) for adapter in adapters))
    if not any(adapter.shared for adapter in adapters):
        await intakes  # what is in hand is still begun here: there may be nobody else for it
    await asyncio.gather(intakes, parley.turns.drain(drain))


async def _hand_over(adapter: Adapter, patience: timedelta, clock: Clock) -> None:
    if adapter.shared:
        try:
            async with time_limit(clock, patience):
                await adapter.hand_over()
        except Exception as exc:  # noqa: BLE001 - others take over a little later what was not handed over
            log.warning("app.not_handed_over", platform=adapter.platform, error=type(exc).__name__, reason=str(exc))
    await _stop_intake(adapter, clock)


async def _stop_intake(adapter: Adapter, clock: Clock) -> None:
    try:
        async with time_limit(clock, STOPPING):
            await adapter.stop_intake()
    except Exception as exc:  # noqa: BLE001 - the answers under way still get their time, and a refusal is still told
        log.warning("app.intake_not_stopped", platform=adapter.platform, error=type(exc).__name__, reason=str(exc))


def _web_side(settings: Settings, parley: Parley, adapters: Sequence[Adapter], registry: CollectorRegistry) -> WebSide:
    async def ready(adapter: Adapter) -> bool:
        return adapter.ready

    token = revealed(settings.http_token)
    checks = {"store": parley.store.check} | {
        adapter.platform: (lambda adapter=adapter: ready(adapter)) for adapter in adapters
    }
    mounts = [mount for adapter in adapters for mount in adapter.mounts]
    return WebSide(settings.http_host, settings.http_port, token, registry, checks, mounts=mounts, names=settings.http_names)
