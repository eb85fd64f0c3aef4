"""A database that is stopped, cuts connections, locks rows and refuses transactions and connections while people talk.

Nothing is acknowledged that is not kept, and everything goes on by itself.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta

import psycopg

from tests.engines.postgres import PostgresServer, Shutdown
from tests.trials.auditing import named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import AGAIN, Rig, rig
from tests.trials.stages import PATIENCE, Stage
from tests.trials.talking import talking
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

REPLICAS = 3
OPTIONS = {
    "max_connections": "70",  # twenty for each replica, and a few for those who look on
    "deadlock_timeout": "100ms",
}
CUT_EVERY_SECONDS = 0.3

CUT, DEADLOCK, COLLISION, NO_CONNECTION = (
    "terminating connection due to administrator command",
    "deadlock detected",
    "could not serialize access",
    "too many clients",
)
"""What the server says in its log of each harm."""

Harm = Callable[[Rig[Stage], PostgresDatabase, float, random.Random], None]


def run(ground: Ground) -> Sequence[Figure]:
    """Do one harm after the other, each for some seconds, and see how long it takes until everything works again."""
    places, pause = (24, timedelta(seconds=0.1)) if ground.long else (8, timedelta(seconds=0.2))
    figures: list[Figure] = []
    with PostgresServer.made(options=OPTIONS) as server:
        for make in platforms(ground):
            directory, kept = ground.directory / make.__name__, PostgresDatabase(server)
            with make(places) as stage, rig(stage, kept, directory, delay_ms=20) as here:
                here.add(REPLICAS)
                waits: list[Figure] = []
                with talking(stage, ground.rng(stage.name), pause=pause):
                    wait_for(lambda: len(here.logged("turn.finished")) > places)
                    for number, (name, harm, short, long) in enumerate(HARMS, start=1):
                        harm(here, kept, long if ground.long else short, ground.rng(stage.name, name))
                        gate = AGAIN.total_seconds() * (1 if ground.long else 3)
                        waits.append(Figure(name=f"works again {name}", value=here.works_again(), unit="s", at_most=gate))
                        ground.progress(number, len(HARMS))
                seen = [
                    Figure(name="connections cut", value=_seen(server, CUT), at_least=1),
                    Figure(name="deadlocks", value=_seen(server, DEADLOCK), at_least=1),
                    Figure(name="serialisation failures", value=_seen(server, COLLISION), at_least=1),
                    Figure(name="connections refused", value=_seen(server, NO_CONNECTION), at_least=1),
                ]
                figures += named(stage.name, [*settled_account(here).figures(), *seen, *waits])
    return figures


def _seen(server: PostgresServer, words: str) -> int:
    """Count how often the server has said something in its log."""
    return (server.home / "log").read_text(errors="replace").count(words)


def _until(seconds: float, server: PostgresServer, words: str) -> Iterator[None]:
    """Go on for so long, and until the harm was felt: until the server said so once more."""
    before, began = _seen(server, words), time.monotonic()
    while time.monotonic() - began < seconds or _seen(server, words) == before:
        assert time.monotonic() - began < seconds + PATIENCE.total_seconds(), f"nobody felt it: {words}"
        yield


def _stop_the_server(here: Rig[Stage], kept: PostgresDatabase, seconds: float, rng: random.Random) -> None:
    """As if its machine had lost its power."""
    kept.server.stop(Shutdown.IMMEDIATE)
    gone = time.monotonic()
    wait_for(lambda: all(replica.readiness() == 503 for replica in here.replicas))
    time.sleep(max(0.0, gone + seconds - time.monotonic()))
    kept.server.start()


def _cut_connections(here: Rig[Stage], kept: PostgresDatabase, seconds: float, rng: random.Random) -> None:
    """End all connections of the bot, again and again."""
    for _ in _until(seconds, kept.server, CUT):
        _cut_all(kept)
        time.sleep(rng.uniform(0, 2 * CUT_EVERY_SECONDS))


def _cut_all(kept: PostgresDatabase) -> None:
    kept.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley'")


def _lock_rows(here: Rig[Stage], kept: PostgresDatabase, seconds: float, rng: random.Random) -> None:
    """Lock turns before their conversations, which is the other way round: whoever comes in between is in a deadlock."""
    with psycopg.connect(kept.url, autocommit=True) as db:
        db.execute("SET deadlock_timeout = '1h'")  # so that it is the bot's transaction that is given up
        for _ in _until(seconds, kept.server, DEADLOCK):
            with db.transaction():
                rows = db.execute(
                    "SELECT conversation_id FROM turn WHERE settled_at IS NULL ORDER BY random() LIMIT 3 FOR UPDATE"
                ).fetchall()
                time.sleep(rng.uniform(0.1, 0.4))
                for (conversation,) in rows:
                    db.execute("SELECT FROM conversation WHERE id = %s FOR UPDATE", (conversation,))


def _serialise(here: Rig[Stage], kept: PostgresDatabase, seconds: float, rng: random.Random) -> None:
    """Run every transaction as if it were alone: what collides is given up."""
    database = f'ALTER DATABASE "{kept.database}"'
    kept.execute(f"{database} SET default_transaction_isolation = 'serializable'")
    _cut_all(kept)
    for _ in _until(seconds, kept.server, COLLISION):
        time.sleep(0.2)
    kept.execute(f"{database} RESET default_transaction_isolation")
    _cut_all(kept)


def _take_connections(here: Rig[Stage], kept: PostgresDatabase, seconds: float, rng: random.Random) -> None:
    """Take every connection there is, as soon as it is free, and let the bot find none."""
    over = threading.Event()
    with ExitStack() as taken:

        def take() -> None:
            while not over.wait(0.005):
                with suppress(psycopg.OperationalError):
                    taken.enter_context(psycopg.connect(kept.url, application_name="hog"))

        with psycopg.connect(kept.url, autocommit=True) as db:
            hog = threading.Thread(target=take, name="hog")
            hog.start()
            for _ in _until(seconds, kept.server, NO_CONNECTION):
                db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley'")
                time.sleep(0.1)
            over.set()
            hog.join()


HARMS: Sequence[tuple[str, Harm, float, float]] = (
    ("after connections were cut", _cut_connections, 1.5, 15),
    ("after rows were locked", _lock_rows, 2, 15),
    ("after transactions collided", _serialise, 2, 15),
    ("after there was no connection left", _take_connections, 1.5, 15),
    ("after the server was stopped", _stop_the_server, 2.5, 30),
)
"""What is done, and for how many seconds in the short form and in the long one."""

TRIAL = Trial(
    number=18,
    name="database_outage",
    what="PostgreSQL is stopped, cuts connections, locks rows, refuses transactions and connections while people talk.",
    run=run,
)
