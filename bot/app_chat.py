"""Parley at the terminal: the chat itself, and what surrounds it when it is the main job."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress

from prometheus_client import CollectorRegistry
from rich.console import Console

from bot import exits
from bot.adapters.console import ConsoleChat, ConsoleSurface, address_of
from bot.adapters.console_input import LineTooLong, is_terminal, piped_lines, typed_lines
from bot.app import Parley, Reports, running
from bot.app_doctor import examine_running
from bot.chat.models import Models
from bot.chat.policy import CONSOLE
from bot.chat.protocol import Unreachable
from bot.clock import SystemClock
from bot.config import Settings, revealed
from bot.web.server import WebError, WebSide

PROMPT = "you> "


async def chat(
    settings: Settings,
    models: Models,
    *,
    user: str,
    channel: str,
    new: bool,
    registry: CollectorRegistry | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Talk at the terminal, or answer the lines of a pipe; return the exit code. With `registry`, the web side runs too.

    `progress` as in `running`.

    Raises:
        StoreError: the store can't be opened, or failed before the first line.
    """
    clock, rng = SystemClock(), random.Random()
    surface = ConsoleSurface(sys.stdout, at=address_of(user=user, channel=channel))
    terminal = is_terminal()  # asked once: a pipe that has come to its end is closed
    async with AsyncExitStack() as stack:
        stack.callback(_end_line, surface)
        reports = Reports(platforms=lambda: [CONSOLE], models=models.described, examine=lambda: examine_running(settings))
        parley = await stack.enter_async_context(
            running(settings, {CONSOLE: surface}, models, clock, rng, reports=reports, progress=progress)
        )
        if registry is not None:
            await _open_web(settings, parley, registry, stack)
        talk = ConsoleChat(
            parley.store,
            parley.intake,
            parley.turns,
            parley.commands,
            surface,
            clock,
            user=user,
            channel=channel,
        )
        conversation = asyncio.create_task(_talk(talk, new=new, terminal=terminal), name="chat")
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, conversation.cancel)
        loop.add_signal_handler(signal.SIGINT, lambda: talk.interrupt() or terminal or conversation.cancel())
        try:
            return await conversation
        except asyncio.CancelledError:
            return 0  # asked to stop: what runs is given its time on the way out


async def _talk(talk: ConsoleChat, *, new: bool, terminal: bool) -> int:
    lines: AsyncIterator[str] = typed_lines(PROMPT) if terminal else piped_lines(sys.stdin)
    try:
        if new:
            await talk.begin_anew()
        await talk.resume()
        async for line in lines:
            code = await talk.take(line)
            if code and not terminal:
                return code
    except LineTooLong as exc:
        print(f"parley: {exc}", file=sys.stderr)  # noqa: T201 - the terminal is this room's platform
        return exits.DATA
    except Unreachable as exc:
        print(f"parley: {exc}", file=sys.stderr)  # noqa: T201
        # What is still in the buffer would fail once more at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BUSY
    return 0


def _end_line(surface: ConsoleSurface) -> None:
    with suppress(Unreachable):
        surface.end_line()


async def _open_web(settings: Settings, parley: Parley, registry: CollectorRegistry, stack: AsyncExitStack) -> None:
    token = revealed(settings.http_token)
    web = WebSide(settings.http_host, settings.http_port, token, registry, {"store": parley.store.check})
    try:
        await web.start()
    except WebError as exc:
        # At a terminal the chat is the job; a busy port must not keep anybody from it.
        Console(stderr=True).print(f"Going on without the web side: {exc}", markup=False, highlight=False)
        return
    stack.push_async_callback(web.aclose)
