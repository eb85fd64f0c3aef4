"""What a trial sets up: a platform with its people, a model, a store, and the bots between them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.e2e.bots import Bot, bot_in
from tests.e2e.ledger import Ledger
from tests.e2e.replica import Replica
from tests.e2e.servers import Model, model_server
from tests.e2e.zygote import zygote
from tests.fakes.threaded import FakeInThread
from tests.trials.engines import Kept
from tests.trials.stages import PATIENCE, Platform
from tests.trials.waiting import wait_for

SHORT_LEASE = timedelta(seconds=4)
"""The lease of short forms, so that they need not wait for half a minute; it is renewed three times as often."""
AGAIN = timedelta(seconds=10)
"""Within it everything works again by itself after a harm to the database. Short forms share a busy machine, and have three
times as long."""

P = TypeVar("P", bound=Platform)
P_co = TypeVar("P_co", bound=Platform, covariant=True)
Making = Callable[[str, dict[str, str]], Bot]
"""Makes a bot of this name with these settings."""


@contextmanager
def bots_in(directory: Path, *, lease: timedelta | None = None) -> Iterator[Making]:
    """Make a directory for bots, and what makes them there; `lease` None is Parley's own."""
    (home := directory / "home").mkdir(parents=True)
    with zygote({"HOME": str(home)}, stderr=home / "stderr", lease=lease) as helper, ExitStack() as stack:
        yield lambda name, env: stack.enter_context(bot_in(helper, directory / name, env))


def model_env(model: FakeInThread) -> dict[str, str]:
    """Return the settings that make Parley ask a model server in our own process."""
    return {"LLM_PROVIDER": "openai", "LLM_BASE_URL": model.openai_url, "LLM_MODEL": "fake-model"}


@dataclass
class Rig(Generic[P_co]):
    """A platform, a model, a store and the bots between them."""

    stage: P_co
    model: Model
    kept: Kept
    env: dict[str, str]
    """What every bot is told."""
    _make: Making
    bots: list[Bot] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    """Those of the bots that were made as such."""

    def bot(self, name: str = "bot", **env: str) -> Bot:
        """Make a bot with some settings of its own."""
        self.bots.append(self._make(name, {**self.env, **env}))
        return self.bots[-1]

    def replica(self, name: str = "bot", **env: str) -> Replica:
        """Make one of which more is asked."""
        self.replicas.append(Replica(name, self.bot(name, **env)))
        return self.replicas[-1]

    def add(self, number: int = 1) -> list[Replica]:
        """Start so many more replicas, and wait until all of them hear."""
        first = len(self.replicas)
        added = [self.replica(f"replica{first + offset}") for offset in range(number)]
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
        return self.kept.now

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
def rig(stage: P, kept: Kept, directory: Path, *, lease: timedelta | None = None, delay_ms: int = 0) -> Iterator[Rig[P]]:
    """Put everything but the bots in its place, in a directory of its own; `stage` has been entered. In the end no bot may
    have told of anything that nobody foresaw.

    The model answers with the question, word by word, `delay_ms` apart; `lease` None is Parley's own.
    """
    directory.mkdir()
    with model_server(directory, delay_ms=delay_ms) as model, bots_in(directory, lease=lease) as make:
        asyncio.run(stage.prepare(kept.url))
        env = {**model.env, **stage.env, "DATABASE_URL": kept.url, "LOG_FORMAT": "json"}
        running = Rig(stage, model, kept, env, make)
        yield running
        assert not any("Traceback" in bot.errors for bot in running.bots), [bot.errors for bot in running.bots]


def _where_it_hangs(ledger: Ledger, said: int) -> str:
    return f"{len(ledger.said)} of {said} messages are stored, {len(ledger.open)} turns are open: {ledger.open[:5]}"
