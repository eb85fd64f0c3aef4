"""An hour of five turns a second, with one thing or another going wrong all the time: what grows, and what does not.

Everybody waits for an answer before saying more. People talk in some places for a while and then in the next ones, so that
conversations expire, are purged, and begin anew: after `WARM_UP` the store holds no more than it did before. The bot is
killed (SIGKILL) now and then; what it takes of the machine is counted from the start of its last life.

`SOAK_MINUTES=10` in the environment makes the long form shorter, `SOAK_MINUTES=1440` a day; `SOAK_ON=Slack` or `Discord`
leaves the other one out.
"""

import asyncio
import itertools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.bots import Bot
from tests.e2e.servers import Model, model_server
from tests.engines.postgres import Shutdown
from tests.trials.auditing import named
from tests.trials.engines import Kept, PostgresDatabase, SqliteFile, kept_in
from tests.trials.processes import Sample, growth, sample, slope_an_hour
from tests.trials.rigs import SHORT_LEASE, bots_in
from tests.trials.scenes import Scene, play_all
from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial

TURNS_A_SECOND = 5
ACTIVE = 40
"""Places in which people talk at a time: each has its own pace, and Slack's workspaces too, two of them each."""
ROUNDS = 8
"""What is said in each of them before people go on to the next ones."""
GROUPS = 5
ROUND_SECONDS = ACTIVE / TURNS_A_SECOND
WARM_UP_SECONDS = GROUPS * ROUNDS * ROUND_SECONDS
"""Once around: from then on no place is new to the bot, and as much is purged as is said."""
KEPT_SECONDS, PURGED_SECONDS, SWEPT_SECONDS = 120, 30, 10
"""Conversations that nobody talks in expire after so long, are purged so much later, and are looked for so often."""
LOOK_SECONDS = 2.0
TROUBLE_SECONDS, MODEL_TROUBLE_SECONDS = 2.0, 5.0
"""How often the platform and the model do something wrong, on average."""
CUT_SECONDS = 400.0
"""How often the bot's connection is cut, on average: who is cut more often waits longer each time, as platforms ask for."""
FORGET_SECONDS = 30.0
RESTART_SECONDS = 300.0
"""How often the model's server is started anew, and with PostgreSQL the database."""
KILLED_AT = (0.02, 0.05, 0.08)
KILLED_AT_SHORT = (0.4,)
"""The shares of the time after which the bot is killed."""
CUT_AT = (0.10, 0.11, 0.12)
"""The shares of the time after which its connection is cut for certain, in the warm-up of its last life. Slack is waited for
longer each time, up to 4 s, and then 20 people are answered at once; Python keeps the memory of the largest such crowd. Left
to chance, three cuts in a row in the 24th minute were 0.7 of the 1.3 MB by which the bot had grown after 35 minutes."""
PATIENCE_SECONDS = 120.0
STORE_GROWS = 10
"""Megabytes an hour. Conversations come and go; the ids of deliveries stay for a week: 20,000 to 40,000 an hour, of about
100 bytes each with their index."""
DESCRIPTORS = 20
"""By how much their number may differ: connections that are not used end after a few seconds, and there are up to 100."""
ENDING = "to you?"

OPENAI_CUT = {"say": ["You asked", " something"], "then": "cut"}
OPENAI_STALL = {"say": ["You asked"], "then": "end"}


@dataclass
class Counts:
    """What was seen so far."""

    said: int = 0
    kills: int = 0
    platform_faults: int = 0
    model_faults: int = 0
    restarts: int = 0
    samples: list[Sample] = field(default_factory=list)
    """Of the life that goes on."""
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """Bytes of the store, by the time."""


class People:
    """Who talks where, and who waits for an answer."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self._stage = stage
        self._rng = rng
        self._spoken = [0] * stage.places
        self._before = [0] * stage.places
        """How many messages of the bot were there when somebody spoke last."""
        self._order = self._places()

    @property
    def said(self) -> int:
        return sum(self._spoken)

    def talk(self) -> None:
        """Let the next one say something, unless they still wait for an answer."""
        place = next(self._order)
        if self.waits(place):
            return
        self._before[place] = len(self._stage.shown(place))
        self._spoken[place] += 1
        self._stage.say(place, f"p{place}-{self._spoken[place]} what is {self._rng.randrange(10**6)} {ENDING}")

    def waits(self, place: int) -> bool:
        """The last thing said in a place has no answer yet."""
        return self._spoken[place] > 0 and len(self._stage.shown(place)) <= self._before[place]

    def surplus(self) -> int:
        """Count the messages of the bot beyond one for each thing said."""
        pairs = zip(range(self._stage.places), self._spoken, strict=True)
        return sum(max(0, len(self._stage.shown(place)) - spoken) for place, spoken in pairs)

    def answered(self) -> int:
        """Count the whole answers."""
        return sum(text.endswith(ENDING) for place in range(self._stage.places) for text in self._stage.shown(place))

    def _places(self) -> Iterator[int]:
        for group in itertools.count():
            first = group * ACTIVE % self._stage.places
            for _ in range(ROUNDS):
                places = list(range(first, first + ACTIVE))
                self._rng.shuffle(places)
                yield from places


class Soak(Scene):
    """One platform and one engine, where seconds are the steps."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        self._rng = ground.rng("soak", platform)
        self._long = ground.long
        self._seconds = 60 * float(os.environ.get("SOAK_MINUTES", "60")) if ground.long else 8.0
        self.steps = int(self._seconds)
        self._counts = Counts()

    def play(self) -> list[Figure]:
        """Let people talk until the time is over, and count."""
        self.directory.mkdir()
        with ExitStack() as stack:
            kept = stack.enter_context(kept_in(self.engine, self.directory))
            stage = stack.enter_context(self._stage())
            models = stack.enter_context(_models(self.directory))
            make = stack.enter_context(bots_in(self.directory, lease=None if self._long else SHORT_LEASE))
            asyncio.run(stage.prepare(kept.url))
            times = (KEPT_SECONDS, PURGED_SECONDS, SWEPT_SECONDS) if self._long else (4, 1, 1)
            names = ("CONVERSATION_TTL", "PURGE_AFTER", "SWEEP_INTERVAL")
            env = {**models.model.env, **stage.env, "DATABASE_URL": kept.url, "LOG_FORMAT": "json"}
            bot = make("bot", env | {name: f"{seconds}s" for name, seconds in zip(names, times, strict=True)})
            people = People(stage, self._rng)
            bot.start()
            stage.until(stage.heard)
            self._soak(bot, stage, kept, models, people)
            return named(self.name, self._figures(bot, kept, people, stage))

    def _stage(self) -> Stage:
        places = ACTIVE * (GROUPS if self._long else 1)
        if self.platform == DiscordStage.name:
            return DiscordStage(places, shards=1, sessions=1_000_000)
        return SlackStage(places)

    def _soak(self, bot: Bot, stage: Stage, kept: Kept, models: "Models", people: People) -> None:
        counts, began = self._counts, time.monotonic()

        def trouble() -> None:
            counts.platform_faults += 1
            stage.trouble(self._rng)

        def cut() -> None:
            counts.platform_faults += 1
            stage.cut(self._rng)

        def kill() -> None:
            bot.kill()
            counts.kills += 1
            counts.samples.clear()
            bot.start()

        def model_trouble() -> None:
            counts.model_faults += 1
            steps = ({"status": 500}, {"status": 429, "headers": {"retry-after": "1"}}, OPENAI_CUT, OPENAI_STALL)
            models.model.plan(self._rng.choice(steps))

        def restart() -> None:
            counts.restarts += 1
            models.restart()
            if isinstance(kept, PostgresDatabase):
                kept.server.stop(self._rng.choice(tuple(Shutdown)))
                kept.server.start()

        def look() -> None:
            assert bot.life is not None
            assert bot.life.read(0), f"the bot ended: {bot.errors[-1000:]}"
            counts.samples.append(sample(bot.life.pid))
            counts.sizes.append((time.monotonic(), kept.bytes))

        surely = self._seconds / 3  # whoever is called so often on average is called once at least, whatever the seed
        timers = [
            Timer(1 / TURNS_A_SECOND, people.talk, self._rng, steady=True),
            Timer(min(TROUBLE_SECONDS, surely), trouble, self._rng),
            Timer(min(CUT_SECONDS, surely), cut, self._rng),
            Timer(min(MODEL_TROUBLE_SECONDS, surely), model_trouble, self._rng),
            Timer(LOOK_SECONDS if self._long else 0.5, look, self._rng, steady=True),
            Timer(FORGET_SECONDS, stage.forget, self._rng, steady=True),
            Timer(min(RESTART_SECONDS, surely), restart, self._rng, steady=True),
        ]
        planned = [(share, kill) for share in (KILLED_AT if self._long else KILLED_AT_SHORT)]
        planned += [(share, cut) for share in (CUT_AT if self._long else ())]
        while (now := time.monotonic()) < began + self._seconds or planned or not counts.samples:
            self.done = int(now - began)
            if planned and now >= began + planned[0][0] * self._seconds:
                planned.pop(0)[1]()
            for timer in timers:
                timer.ring(now)
            time.sleep(max(0.0, min(timer.due for timer in timers) - time.monotonic()))
        self._settle(stage, kept, people)

    def _settle(self, stage: Stage, kept: Kept, people: People) -> None:
        """Wait until everybody has an answer, and in a database the leases of a process that was killed are over too."""

        def open_turns() -> bool:
            return any(people.waits(place) for place in range(stage.places)) or (
                isinstance(kept, PostgresDatabase) and bool(kept.now.open)
            )

        limit = time.monotonic() + PATIENCE_SECONDS
        while open_turns() and time.monotonic() < limit:
            time.sleep(0.2)

    def _figures(self, bot: Bot, kept: Kept, people: People, stage: Stage) -> list[Figure]:
        counts = self._counts
        unanswered = [place for place in range(stage.places) if people.waits(place)]
        time.sleep(LOOK_SECONDS)
        code, ledger, events, size = bot.stop(), kept.ledger, kept.execute("SELECT count(*) FROM seen")[0][0], kept.bytes
        complaints = [line for line in bot.errors.splitlines() if "Traceback" in line]
        messages = len(ledger.said) + sum(len(said.answers) for said in ledger.said)
        figures = [
            Figure(name="messages", value=people.said),
            Figure(name="kills", value=counts.kills, at_least=1),
            Figure(name="faults of the platform", value=counts.platform_faults, at_least=1),
            Figure(name="faults of the model", value=counts.model_faults, at_least=1),
            Figure(name="restarts of the model and the database", value=counts.restarts, at_least=1),
            Figure(name="whole answers", value=people.answered(), unit=""),
            Figure(
                name="without an answer",
                value=len(unanswered),
                at_most=0,
                of=people.said,
                seen=tuple(f"place {place}: {stage.said(place)[-1]}" for place in unanswered),
            ),
            Figure(name="answered twice", value=people.surplus(), at_most=0, of=people.said),
            Figure(name="turns left open", value=len(ledger.open), at_most=0, of=people.said),
            Figure(name="answers without a question", value=ledger.strays, at_most=0, of=people.said),
            Figure(
                name="errors that nobody foresaw",
                value=len(complaints),
                at_most=0,
                of=people.said,
                seen=tuple(complaints[:5]),
            ),
            Figure(name="exit code", value=code, at_most=0, at_least=0),
            Figure(name="messages kept", value=messages),
            Figure(name="ids of deliveries kept", value=events),
            Figure(name="memory, most", value=max(seen.megabytes for seen in counts.samples), unit="MB", at_most=300),
        ]
        return [*figures, *self._growth(size)]

    def _growth(self, size: int) -> list[Figure]:
        """Tell what grows, of the last life; only where it lasted for longer than the warm-up."""
        first = self._counts.samples[0].at
        warm = [seen for seen in self._counts.samples if seen.at - first > WARM_UP_SECONDS]
        figures = [Figure(name="store", value=size / 1e6, unit="MB")]
        if len(warm) < 100:
            return figures
        hours = (warm[-1].at - warm[0].at) / 3600
        sizes = [(at, size) for at, size in self._counts.sizes if at >= warm[0].at]
        store = statistics.linear_regression(*zip(*((at / 3600, size / 1e6) for at, size in sizes), strict=True))
        return [
            *figures,
            Figure(name="watched after the warm-up", value=hours * 60, unit="min"),
            Figure(name="memory after the warm-up", value=warm[0].megabytes, unit="MB"),
            Figure(name="memory grows", value=slope_an_hour(warm), unit="MB an hour", at_most=1 if hours > 0.5 else None),
            Figure(name="file descriptors more", value=growth([seen.descriptors for seen in warm]), at_most=DESCRIPTORS),
            Figure(name="threads more", value=growth([seen.threads for seen in warm]), at_most=1),
            Figure(name="store grows", value=store.slope, unit="MB an hour", at_most=STORE_GROWS),
        ]


class Timer:
    """Does something every so many seconds, or so often on average."""

    def __init__(self, seconds: float, act: Callable[[], None], rng: random.Random, *, steady: bool = False) -> None:
        self._seconds = seconds
        self._act = act
        self._rng = rng
        self._steady = steady
        self.due = time.monotonic() + self._pause()

    def ring(self, now: float) -> None:
        """Do it if it is time; what was missed meanwhile is left out."""
        if now >= self.due:
            self.due = max(self.due + self._pause(), now)
            self._act()

    def _pause(self) -> float:
        return self._seconds if self._steady else self._rng.uniform(0, 2 * self._seconds)


class Models:
    """The model's server, which comes back at the same address."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.model: Model = stack.enter_context(model_server(directory, delay_ms=20))

    def restart(self) -> None:
        """End it in the middle of whatever it says, and start it anew."""
        self._stack.close()
        port = int(self.model.env["LLM_BASE_URL"].removesuffix("/v1").rpartition(":")[2])
        self.model = self._stack.enter_context(model_server(self._directory, delay_ms=20, port=port))


@contextmanager
def _models(directory: Path) -> Iterator[Models]:
    with ExitStack() as stack:
        yield Models(directory, stack)


def run(ground: Ground) -> Sequence[Figure]:
    """Play both scenes at once; in the short form, the one that the seed chooses."""
    pairs = ((SlackStage.name, SqliteFile.name), (DiscordStage.name, PostgresDatabase.name))
    on = os.environ.get("SOAK_ON", "Slack Discord")
    chosen = [pair for pair in pairs if pair[0] in on] if ground.long else [ground.rng("platform").choice(pairs)]
    return play_all(ground, [Soak(ground, *pair) for pair in chosen])


TRIAL = Trial(
    number=13,
    name="soak",
    what="For an hour people ask 5 times a second, while the platform, the model or the database does something wrong.",
    run=run,
)
