"""The command line: `parley run`, `chat`, `doctor`, `migrate`, `sweep`, `backup`, `restore`, `export`, `migrate-store`.

Settings are read here and nowhere else. Whatever can't go on ends in one clear line on stderr and an exit code of sysexits:
64 usage, 65 data, 75 busy or failing for now, 78 configuration.
"""

import asyncio
import getpass
import os
import random
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvloop
from prometheus_client import CollectorRegistry
from rich.console import Console

from bot import __version__, exits
from bot.adapters.protocol import PlatformRefused
from bot.app_chat import chat as chat_at_terminal
from bot.app_copy import back_up_store, restore_store
from bot.app_doctor import examine_installation
from bot.app_export import export_person
from bot.app_governing import open_configured_store, rules_of
from bot.app_model import build_model, fetch_local_model
from bot.app_move import comparison, move_store
from bot.app_serve import serve
from bot.chat.export import Person
from bot.chat.models import Models
from bot.chat.sweeper import Sweeper
from bot.clock import SystemClock
from bot.config import Settings, SettingsError, load_settings
from bot.llm.protocol import LLMError
from bot.progress import passing_bar, progress_bar
from bot.telemetry import Metrics, configure_logging, harden_process
from bot.web.server import WebError
from store import NotOurs, StoreBusy, StoreDamaged, StoreError, StoreRefused, StoreUnavailable
from store.open import place_of_store

app = typer.Typer(
    name="parley",
    help="A chatbot for Discord and Slack that never loses a message, never answers twice and remembers what was said.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would show local variables, and so settings
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ENCRYPTING = "Encrypting what is kept"

User = Annotated[str, typer.Option(help="Who is talking; each user has conversations of their own.")]
Channel = Annotated[str, typer.Option(help="Where; each channel is a conversation of its own.")]
New = Annotated[bool, typer.Option("--new", help="Begin a new conversation instead of going on.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parley {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Settings come from the environment and from [b].env[/b] in this directory; [b].env.example[/b] lists them all."""


@app.command()
def run(user: User = "", channel: Channel = "terminal", new: New = False) -> None:
    """Run whatever is configured; with no platform configured, talk at this terminal."""
    settings = _settings()
    registry = CollectorRegistry()
    configured = {"Discord": settings.discord_token is not None, "Slack": settings.slack_mode is not None}
    platforms = [name for name, there in configured.items() if there]
    _log(settings, Metrics(registry), talking=not platforms)
    models = _models(settings)
    screen = Console(stderr=True, highlight=False)
    if platforms:
        where = " and ".join(platforms)
        screen.print(
            f"Connecting to {where} with {models.default.name}, kept in {_place(settings)}; Ctrl-C ends.", soft_wrap=True
        )
        with _told(), passing_bar(ENCRYPTING, Console(stderr=True)) as show:
            uvloop.run(serve(settings, models, registry, show))
        return
    if _nobody_types():
        _end(
            exits.CONFIG,
            "nobody can type here and no platform is configured: set DISCORD_TOKEN or SLACK_BOT_TOKEN (README.md)",
        )
    screen.print(
        f"Talking with {models.default.name} here, kept in {_place(settings)}; /help lists commands.", soft_wrap=True
    )
    screen.print("Discord and Slack are connected by tokens in .env, in five steps each (README.md).", soft_wrap=True)
    with _told():
        raise typer.Exit(_talk(settings, models, user=user, channel=channel, new=new, registry=registry))


@app.command()
def chat(user: User = "", channel: Channel = "terminal", new: New = False) -> None:
    """Talk at this terminal, or answer each line of a pipe; the conversation goes on where it was left."""
    settings = _settings()
    _log(settings, None, talking=True)
    models = _models(settings)
    with _told():
        raise typer.Exit(_talk(settings, models, user=user, channel=channel, new=new))


@app.command()
def migrate() -> None:
    """Bring the store to this version's schema, making it when there is none. Done at each start as well."""
    settings = _settings()
    _log(settings, None)

    async def work() -> str:
        with passing_bar(ENCRYPTING, Console(stderr=True)) as show:
            store = await open_configured_store(settings, SystemClock().now, show)
        status = await store.status()
        await store.aclose()
        return f"{status.place} is up to date ({status.engine})."

    with _told():
        typer.echo(asyncio.run(work()))


@app.command()
def sweep() -> None:
    """Expire and purge now what is due, as the running bot does every SWEEP_INTERVAL."""
    settings = _settings()
    _log(settings, None)

    async def work() -> str:
        clock = SystemClock()
        store = await open_configured_store(settings, clock.now)
        sweeper = Sweeper(
            store,
            clock,
            random.Random(),
            await rules_of(settings, store, ()),
            purge_after=settings.purge_after,
            interval=settings.sweep_interval,
            audit_ttl=settings.audit_ttl,
        )
        done = 0
        try:
            with progress_bar("Sweeping", Console(stderr=True)) as show:

                def count(rows: int) -> None:
                    nonlocal done
                    done += rows
                    show(done, 0)

                swept = await sweeper.sweep(count)
        finally:
            await store.aclose()
        return f"{swept.expired} conversations expired, {swept.purged} rows purged, {swept.events} event ids dropped."

    with _told():
        typer.echo(asyncio.run(work()))


@app.command()
def doctor() -> None:
    """Look at settings, store, model and platforms, and say what to do about what is wrong."""
    settings = _settings()
    _log(settings, None)
    with _told():
        raise typer.Exit(0 if examine_installation(settings, Console()) else exits.CONFIG)


@app.command()
def backup(path: Annotated[Path, typer.Argument(help="A new file to write the copy to.")]) -> None:
    """Copy the store to a file, whole and checked, while Parley may go on running."""
    settings = _settings()
    _log(settings, None)
    with _told():
        messages = back_up_store(settings.database_url.get_secret_value(), path, _bar)
    typer.echo(f"{path}: {messages:,} messages, checked.")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="A file that `parley backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before replacing a store.")] = False,
) -> None:
    """Put a backup in the store's place. A file that was there is kept beside it; what was in a database is replaced."""
    settings = _settings()
    _log(settings, None)

    def ask(what: str, kept: bool) -> None:
        if yes:
            return
        if not sys.stdin.isatty():
            _end(exits.USAGE, f"something is there: say --yes to {what}")
        warning = "" if kept else " This can't be taken back."
        typer.confirm(f"{what[0].upper()}{what[1:]}?{warning}", abort=True)

    with _told():
        done = restore_store(settings.database_url.get_secret_value(), path, ask, _bar)
    typer.echo(
        f"{done.place}: {done.messages:,} messages." + (f" What was there is now {done.aside}." if done.aside else "")
    )


@app.command()
def export(
    who: Annotated[str, typer.Argument(help="discord:<server id>/<user id>, slack:<team id>/<user id> or console:<name>.")],
    directory: Annotated[Path, typer.Argument(help="Where to write the files.", file_okay=False)] = Path(),
) -> None:
    """Write what is kept of one person into files, while Parley is stopped; people do it themselves by /chat export."""
    found = re.fullmatch(r"(discord|slack|console):(?:([^/\s]*)/)?([^/\s]+)", who)
    if found is None:
        _end(exits.USAGE, "name a person as discord:<server id>/<user id>, slack:<team id>/<user id> or console:<name>")
    person = Person(platform=found[1], workspace=found[2] or "", id=found[3])
    settings = _settings()
    _log(settings, None)
    with _told(), progress_bar("Exporting", Console(stderr=True)) as show:
        done = asyncio.run(export_person(settings, person, directory, show))
    typer.echo(f"{', '.join(map(str, done.files))}: {done.messages:,} messages of {done.conversations:,} conversations.")


@app.command()
def migrate_store(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The store's address, as DATABASE_URL has it.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where it is to be: a new file, or an empty database.")],
) -> None:
    """Move everything from one store to another while Parley is stopped; ended anywhere, done again it goes on."""
    settings = _settings()
    _log(settings, None)
    with _told(), progress_bar("Moving", Console(stderr=True)) as show:
        compared = move_store(settings, source, target, show)
    Console().print(comparison(compared))
    if not all(table.equal for table in compared):
        _end(
            exits.DATA,
            "the tables differ, so the target can't be used: was the source used since the move began? "
            "Remove the target and move anew",
        )
    typer.echo("Everything is there. Set DATABASE_URL to the new address; the old store is still there.")


def main() -> None:
    """Run the command line; usage errors end with 64, as sysexits has it, instead of 2."""
    # A stream that was closed by whoever started us is none; the next file opened would get its number.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        app()
    except SystemExit as exc:
        if exc.code == 2:
            raise SystemExit(exits.USAGE) from None
        raise


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as exc:
        _end(exits.CONFIG, "these settings can't be used:\n" + "\n".join(f"  {problem}" for problem in exc.problems))


def _log(settings: Settings, metrics: Metrics | None, *, talking: bool = False) -> None:
    # Between the lines of a talk only what an operator must see is shown, unless a level was asked for.
    quiet = talking and "log_level" not in settings.model_fields_set
    level = "ERROR" if quiet else settings.log_level
    configure_logging(level, settings.log_format, settings.secrets, sys.stderr, metrics=metrics)
    harden_process()


def _nobody_types() -> bool:
    """Tell whether standard input is the null device, as in a container: the talk would end before it began."""
    try:
        typed, null = os.fstat(sys.stdin.fileno()), os.stat(os.devnull)
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(typed.st_mode) and typed.st_rdev == null.st_rdev


def _talk(
    settings: Settings, models: Models, *, user: str, channel: str, new: bool, registry: CollectorRegistry | None = None
) -> int:
    with passing_bar(ENCRYPTING, Console(stderr=True)) as show:
        return asyncio.run(
            chat_at_terminal(
                settings, models, user=user or _me(), channel=channel, new=new, registry=registry, progress=show
            )
        )


def _models(settings: Settings) -> Models:
    try:
        return build_model(settings, SystemClock(), random.Random(), fetch_local_model(settings))
    except LLMError as exc:
        _end(exits.CONFIG, str(exc))


def _place(settings: Settings) -> str:
    with _told():
        return place_of_store(settings.database_url.get_secret_value())


def _bar(what: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return progress_bar(what, Console(stderr=True))


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "you"


@contextmanager
def _told() -> Iterator[None]:
    """End with one line and the right exit code when the store, a platform or the web side refuses."""
    try:
        yield
    except (NotOurs, StoreDamaged) as exc:
        _end(exits.DATA, str(exc))
    except (StoreBusy, StoreUnavailable) as exc:
        _end(exits.BUSY, str(exc))
    except (StoreRefused, PlatformRefused, WebError) as exc:
        _end(exits.CONFIG, str(exc))
    except StoreError as exc:
        _end(exits.DATA, str(exc))


def _end(code: int, message: str) -> NoReturn:
    typer.echo(f"parley: {message}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
