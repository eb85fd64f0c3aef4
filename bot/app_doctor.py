"""`parley doctor`: looks at everything that Parley stands on, and says what to do about what is wrong. Changes nothing."""

import asyncio
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot import __version__
from bot.app_governing import prices_of
from bot.chat.money import Prices
from bot.clock import SystemClock
from bot.config import Settings, revealed
from bot.findings import Finding, Verdict
from bot.llm.local import local_unavailable
from bot.llm.protocol import LLMError
from bot.llm.weights import CATALOGUE, WeightsError, cached_weights
from bot.progress import progress_bar
from store import StoreError
from store.open import require_postgres, sqlite_path
from store.sqlite_copy import examine
from store.sqlite_file import Found, look, revision_of

ROOM = 1 << 30
"""Bytes that should be free where the store grows."""
_RESET_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite could lose committed pages with two writing connections in these versions; Parley has one."""


_MARKS = {Verdict.GOOD: "[green]✓[/]", Verdict.NOTE: "[yellow]![/]", Verdict.BAD: "[red]✗[/]"}


def examine_installation(settings: Settings, console: Console) -> bool:
    """Look at everything, print the table, and tell whether Parley can run as it is set up."""
    findings = [
        *_program(),
        *_store(settings, console),
        *_model(settings),
        *_platforms(settings, console),
        *_operating(settings),
    ]
    table = Table(show_header=False, box=None, padding=(0, 1))
    for finding in findings:
        table.add_row(_MARKS[finding.verdict], finding.what, escape(finding.text))
    console.print(table)
    return all(finding.verdict is not Verdict.BAD for finding in findings)


async def examine_running(settings: Settings) -> list[Finding]:
    """Look at everything from within the running program, for an operator who asks it; the port is its own by then."""
    quiet = Console(quiet=True)
    findings = await asyncio.to_thread(lambda: [*_program(), *_store(settings, quiet), *_model(settings)])
    if settings.discord_token is not None:
        findings += await _examine_discord(settings)
    if settings.slack_mode is not None:
        findings += await _examine_slack(settings)
    return findings


def _program() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(verdict=Verdict.GOOD, what="program", text=f"Parley {__version__} on Python {python}")
    first, mended = _RESET_BUG
    affected = first <= sqlite3.sqlite_version_info < mended
    advice = " - older than 3.51.3: let no other program write to the file while Parley runs" if affected else ""
    verdict = Verdict.NOTE if affected else Verdict.GOOD
    yield Finding(verdict=verdict, what="SQLite", text=f"{sqlite3.sqlite_version}{advice}")


def _store(settings: Settings, console: Console) -> Iterator[Finding]:
    url = settings.database_url.get_secret_value()
    if not url.startswith("sqlite:"):
        yield from _database(url)
        return
    path = sqlite_path(url)
    if path is None:
        yield Finding(verdict=Verdict.NOTE, what="store", text="in memory: everything is forgotten when Parley stops")
        return
    yield _guarded("store", lambda: _examine_file(path, console))
    if path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        verdict = Verdict.GOOD if free >= ROOM else Verdict.NOTE
        yield Finding(verdict=verdict, what="disk", text=f"{free / 1e9:.1f} GB free beside the store")


def _database(url: str) -> Iterator[Finding]:
    try:
        require_postgres()
        from store.postgres_examination import examine_database
        from store.postgres_programs import missing_programs

        seen = examine_database(url)
    except StoreError as exc:
        yield Finding(verdict=Verdict.BAD, what="store", text=str(exc))
        return
    if seen.remedy:
        yield Finding(verdict=Verdict.BAD, what="store", text=f"{seen.place} can't be used: {seen.remedy}")
    else:
        kept = f"{seen.messages:,} messages, schema {seen.revision}" if seen.revision else "the first start makes its tables"
        sealed = ", encrypted" if seen.encrypted else ""
        yield Finding(
            verdict=Verdict.GOOD, what="store", text=f"{seen.place}: {seen.server}, {kept}{sealed}, can be written"
        )
    if missing := missing_programs():
        text = f"{', '.join(missing)} not found: `parley backup` needs PostgreSQL's client programs on PATH"
        yield Finding(verdict=Verdict.NOTE, what="backups", text=text)
    else:
        yield Finding(verdict=Verdict.GOOD, what="backups", text="pg_dump, pg_restore and psql are there")


def _examine_file(path: Path, console: Console) -> str:
    if look(path) is Found.NOTHING:
        return f"{path} will be made at the first start"
    with progress_bar(f"Reading {path}", console):
        messages = examine(path, live=True)
    return f"{path}: whole, {messages:,} messages, schema {revision_of(path, live=True)}"


def _model(settings: Settings) -> Iterator[Finding]:
    provider = settings.provider
    if provider is None:
        text = "none: install the embedded one (extra `local`), or set LLM_BASE_URL, or LLM_PROVIDER=echo"
        yield Finding(verdict=Verdict.BAD, what="model", text=text)
    elif provider == "echo":
        yield Finding(verdict=Verdict.NOTE, what="model", text="echo: it only repeats what it is told")
    elif provider == "local":
        yield _guarded("model", lambda: _examine_local(settings))
    else:
        where = settings.llm_base_url or "its own address"
        yield Finding(verdict=Verdict.GOOD, what="model", text=f"{settings.llm_model} by {provider} at {where}, not called")
        yield from _prices(settings)


def _prices(settings: Settings) -> Iterator[Finding]:
    models = [name for name in (settings.llm_model, *settings.llm_fallbacks) if name]
    unpriced = Prices(by_model=prices_of(settings)).missing(models)
    if unpriced:
        text = f"none of {', '.join(unpriced)}: limits in money count them as free; name them in LLM_PRICES"
        yield Finding(verdict=Verdict.NOTE if settings.llm_prices else Verdict.GOOD, what="prices", text=text)


def _examine_local(settings: Settings) -> str:
    if reason := local_unavailable():
        raise WeightsError(reason)
    if settings.llm_local_model is not None:
        return f"embedded, from {settings.llm_local_model}"
    cached = next((file for file in map(cached_weights, CATALOGUE) if file), None)
    return f"embedded, {cached.name}" if cached else "embedded; its weights are fetched at the first start (about 500 MB)"


def _platforms(settings: Settings, console: Console) -> Iterator[Finding]:
    if settings.discord_token is None:
        yield Finding(verdict=Verdict.GOOD, what="Discord", text="off: set DISCORD_TOKEN to switch it on")
    else:
        with console.status("Asking Discord"):
            yield from asyncio.run(_examine_discord(settings))
    if settings.slack_mode is None:
        text = "off: set SLACK_BOT_TOKEN and SLACK_APP_TOKEN to switch it on"
        yield Finding(verdict=Verdict.GOOD, what="Slack", text=text)
    else:
        with console.status("Asking Slack"):
            yield from asyncio.run(_examine_slack(settings))


def _operating(settings: Settings) -> Iterator[Finding]:
    """Look at what only matters where people other than the one at the terminal take part."""
    if settings.discord_token is None and settings.slack_mode is None:
        return
    if not settings.operators:
        who = (
            ": who owns a server or workspace may use /parley there, and nobody where it concerns all of them"
            if settings.owners_operate
            else " and OWNERS_OPERATE is off, so nobody may use /parley but groups that operate already"
        )
        yield Finding(
            verdict=Verdict.NOTE, what="operators", text=f"OPERATORS is empty{who}: name yourself there (README.md)"
        )
    with socket.socket(socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host.strip("[]"), settings.http_port))
        except OSError as exc:
            text = f"can't listen on {settings.http_host} port {settings.http_port} ({exc.strerror or 'no such address'})"
            remedy = "if that is not Parley itself, set HTTP_PORT to a free port"
            yield Finding(verdict=Verdict.NOTE, what="web side", text=f"{text}: {remedy}")
    if settings.slack_mode == "http" and not settings.http_names:
        text = "Slack reaches it under a name of yours: set HTTP_NAMES to it, or every request is answered 421"
        yield Finding(verdict=Verdict.NOTE, what="web side", text=text)


async def _examine_discord(settings: Settings) -> list[Finding]:
    from bot.adapters.discord.endpoints import point_at
    from bot.adapters.discord.examination import examine_discord

    point_at(settings.discord_api_base_url, settings.discord_gateway_url)
    token = revealed(settings.discord_token) or ""
    return await examine_discord(token, message_content=settings.discord_message_content)


async def _examine_slack(settings: Settings) -> list[Finding]:
    from bot.adapters.slack.examination import examine_slack

    return await examine_slack(
        bot_token=revealed(settings.slack_bot_token),
        app_token=revealed(settings.slack_app_token),
        clock=SystemClock(),
        base_url=settings.slack_api_base_url,
        installs=settings.slack_client_id is not None,
    )


def _guarded(what: str, look_at: Callable[[], str]) -> Finding:
    try:
        return Finding(verdict=Verdict.GOOD, what=what, text=look_at())
    except (StoreError, LLMError) as exc:
        return Finding(verdict=Verdict.BAD, what=what, text=str(exc))
