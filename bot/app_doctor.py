"""`parley doctor`: looks at everything that Parley stands on, and says what to do about what is wrong. Changes nothing."""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bot import __version__
from bot.config import Settings
from bot.llm.local import local_unavailable
from bot.llm.protocol import LLMError
from bot.llm.weights import CATALOGUE, WeightsError, cached_weights
from bot.progress import progress_bar
from store import StoreError
from store.open import sqlite_path
from store.sqlite_copy import examine
from store.sqlite_file import Found, look, revision_of

ROOM = 1 << 30
"""Bytes that should be free where the store grows."""
_RESET_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite could lose committed pages with two writing connections in these versions; Parley has one."""


class Verdict(Enum):
    """How a look ended."""

    GOOD = "[green]✓[/]"
    NOTE = "[yellow]![/]"
    BAD = "[red]✗[/]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the doctor's table."""

    verdict: Verdict
    what: str
    text: str


def examine_installation(settings: Settings, console: Console) -> bool:
    """Look at everything, print the table, and tell whether Parley can run as it is set up."""
    findings = [*_program(), *_store(settings, console), *_model(settings), *_platforms(settings)]
    table = Table(show_header=False, box=None, padding=(0, 1))
    for finding in findings:
        table.add_row(finding.verdict.value, finding.what, finding.text)
    console.print(table)
    return all(finding.verdict is not Verdict.BAD for finding in findings)


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
        yield Finding(verdict=Verdict.BAD, what="store", text="PostgreSQL is not built yet: use sqlite:///parley.db")
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


def _examine_local(settings: Settings) -> str:
    if reason := local_unavailable():
        raise WeightsError(reason)
    if settings.llm_local_model is not None:
        return f"embedded, from {settings.llm_local_model}"
    cached = next((file for file in map(cached_weights, CATALOGUE) if file), None)
    return f"embedded, {cached.name}" if cached else "embedded; its weights are fetched at the first start (about 500 MB)"


def _platforms(settings: Settings) -> Iterator[Finding]:
    for name, on in (("Discord", settings.discord_token), ("Slack", settings.slack_mode)):
        text = "set, but this version can't connect to it yet" if on else "off"
        yield Finding(verdict=Verdict.BAD if on else Verdict.GOOD, what=name, text=text)


def _guarded(what: str, look_at: Callable[[], str]) -> Finding:
    try:
        return Finding(verdict=Verdict.GOOD, what=what, text=look_at())
    except (StoreError, LLMError) as exc:
        return Finding(verdict=Verdict.BAD, what=what, text=str(exc))
