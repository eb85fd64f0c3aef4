"""Several processes of `parley run` on one PostgreSQL, as an operator runs them, and what a trial does to them."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.bots import Bot, bot_in
from tests.e2e.ledger import Ledger, read_database
from tests.e2e.servers import Model, model_server
from tests.e2e.zygote import Zygote, zygote
from tests.engines.postgres import PostgresServer
from tests.trials.stages import PATIENCE, Stage

SHORT_LEASE = timedelta(seconds=4)
"""The lease of short forms, so that they need not wait for half a minute; it is renewed three times as often."""


class Replica:
    """One process, which may die and be started anew."""

    def __init__(self, name: str, bot: Bot) -> None:
        self.name = name
        self._bot = bot
        self._starts = 0

    def start(self) -> None:
        self._bot.start()
        self._starts += 1

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        return self._bot.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._bot.kill()

    def pause(self) -> None:
        """SIGSTOP: it does not know that time goes on."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    @property
    def alive(self) -> bool:
        """It has not ended by itself."""
        assert self._bot.life is not None
        return self._bot.life.read(0)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What it said of one kind of event, in all its lives."""
        lines = [line for line in self._bot.errors.splitlines() if f'"{event}"' in line]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    @property
    def complaints(self) -> str:
        """The lines of what nobody foresaw."""
        return "\n".join(line for line in self._bot.errors.splitlines() if "Traceback" in line)

    def readiness(self) -> int:
        """Ask `/readyz` for its status; 0 when nobody answers."""
        started = self.logged("web.started")
        if len(started) < self._starts:
            return 0
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{started[-1]['port']}/readyz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code
        except OSError:
            return 0

    def _signal(self, number: signal.Signals) -> None:
        assert self._bot.life is not None
        os.kill(self._bot.life.pid, number)


@dataclass
class Rig:
    """A platform, a model, a database and the replicas between them."""

    stage: Stage
    model: Model
    server: PostgresServer
    """The one that is written to; another one after a promotion."""
    url: str
    """What the replicas are told to use."""
    directory: Path
    lease: timedelta
    _helper: Zygote
    _stack: ExitStack
    replicas: list[Replica] = field(default_factory=list)

    def add(self, number: int = 1) -> list[Replica]:
        """Start so many more replicas, and wait until all of them hear."""
        first = len(self.replicas)
        for name in (f"replica{first + offset}" for offset in range(number)):
            env = {**self.model.env, **self.stage.env, "DATABASE_URL": self.url, "LOG_FORMAT": "json"}
            self.replicas.append(Replica(name, self._stack.enter_context(bot_in(self._helper, self.directory / name, env))))
        added = self.replicas[first:]
        self.start(*added)
        return added

    def start(self, *replicas: Replica) -> None:
        """Start replicas, and wait until all of them hear."""
        for replica in replicas:
            replica.start()

        def all_hear() -> bool:
            dead = [replica for replica in replicas if not replica.alive]
            assert not dead, "\n".join(replica.complaints for replica in dead)
            return self.stage.heard() and all(replica.readiness() == 200 for replica in replicas)

        wait_for(all_hear, pause=0.1)

    @property
    def ledger(self) -> Ledger:
        """What the store holds now."""
        return read_database(self.server.url(self.database))

    @property
    def database(self) -> str:
        return urlsplit(self.url).path.removeprefix("/")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on the database, as the superuser."""
        return self.server.execute(statement, database=self.database)

    def settle(self, said: int, *, quiet: bool = True, within: timedelta = 2 * PATIENCE) -> None:
        """Wait until so many messages are stored, no turn is open, and nothing is on its way any more; without `quiet`,
        something may be on its way to who does not take it."""

        def settled() -> bool:
            ledger = self.ledger
            return len(ledger.said) >= said and not ledger.open and (not quiet or self.stage.quiet())

        wait_for(settled, within=within, pause=0.2, told=lambda: _where_it_hangs(self.ledger, said))

    def works_again(self) -> float:
        """Return how many seconds it takes until every replica is ready and another turn has come to its end."""
        finished = len(self.logged("turn.finished"))
        seconds = wait_for(
            lambda: (
                len(self.logged("turn.finished")) > finished and all(replica.readiness() == 200 for replica in self.replicas)
            ),
            told=lambda: str([replica.readiness() for replica in self.replicas]),
        )
        return round(seconds, 1)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What all replicas said of one kind of event."""
        return [line for replica in self.replicas for line in replica.logged(event)]


@contextmanager
def rig(
    stage: Stage,
    server: PostgresServer,
    directory: Path,
    *,
    address: Callable[[PostgresServer, str], str] = lambda server, database: server.url(database),
    lease: timedelta | None = None,
    delay_ms: int = 3,
) -> Iterator[Rig]:
    """Put everything but the replicas in its place; `stage` has been entered.

    `address` says by which URL the replicas find a database; `lease` None is Parley's own.
    """
    with ExitStack() as stack:
        (home := directory / "home").mkdir()
        model = stack.enter_context(model_server(directory, delay_ms=delay_ms))
        helper = stack.enter_context(zygote({"HOME": str(home)}, stderr=home / "stderr", lease=lease))
        database = server.database()
        asyncio.run(stage.prepare(database))
        own = timedelta(seconds=30) if lease is None else lease
        url = address(server, urlsplit(database).path.removeprefix("/"))
        running = Rig(stage, model, server, url, directory, own, helper, stack)
        yield running
        for replica in running.replicas:
            assert not replica.complaints, f"{replica.name}: {replica.complaints}"


AGAIN = timedelta(seconds=10)
"""Within it everything works again by itself after a harm to the database. Short forms share a busy machine, and have three
times as long."""


def wait_for(
    holds: Callable[[], object],
    *,
    within: timedelta = PATIENCE,
    pause: float = 0.05,
    told: Callable[[], str] = lambda: "",
) -> float:
    """Wait until something holds, and return how many seconds that took; `told` says what was seen when it never does."""
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        assert waited < within.total_seconds(), f"this did not come to hold within {within}: {told()}"
        time.sleep(pause)
    return time.monotonic() - began


def moment(line: dict[str, Any]) -> datetime:
    """Tell when a line of a log was written."""
    return datetime.fromisoformat(line["timestamp"])


def _where_it_hangs(ledger: Ledger, said: int) -> str:
    return f"{len(ledger.said)} of {said} messages are stored, {len(ledger.open)} turns are open: {ledger.open[:5]}"
