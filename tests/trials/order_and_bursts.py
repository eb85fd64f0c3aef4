"""Bursts that arrive out of order, at an idle bot and at one that answers: kept in the platform's order, and answered."""

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from tests.e2e.bots import bot_in
from tests.e2e.ledger import Ledger
from tests.e2e.servers import Model, model_server
from tests.e2e.zygote import zygote
from tests.trials.auditing import account_of, named
from tests.trials.engines import ENGINES, kept_in
from tests.trials.replicas import Replica, wait_for
from tests.trials.stage_times import TIMED, TimedDiscord, TimedSlack, TimedStage
from tests.trials.trial import Figure, Ground, Trial

MESSAGES = 5
WITHIN = timedelta(milliseconds=300)
WORD_MS = 40
"""An answer to a burst takes longer than the burst does."""
TOGETHER = 5
"""Bursts at the same time, each in a place of its own."""
IDLE, ASKED, ANSWERING = MOMENTS = (
    "bursts at an idle bot",
    "bursts before the first word of an answer",
    "bursts behind the first word of an answer",
)
TURNS = 2
_SAID = re.compile(r"\bp\d+-\d+")


def run(ground: Ground) -> Sequence[Figure]:
    """Let people write in bursts on every platform and engine; in the short form on one of each, as the seed has it."""
    pairs = list(itertools.product(TIMED, ENGINES))
    scenes = [Scene(ground, *pair) for pair in (pairs if ground.long else [ground.rng("scene").choice(pairs)])]
    bursts = sum(scene.bursts for scene in scenes)

    def told() -> None:
        ground.progress(sum(scene.done for scene in scenes), bursts)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return [figure for figures in pool.map(lambda scene: scene.play(told), scenes) for figure in figures]


class Scene:
    """One platform and one engine."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        self._name = f"{platform}, {engine}"
        self._platform = platform
        self._engine = engine
        self._directory: Path = ground.directory / f"{platform}-{engine}"
        self._rng: Random = ground.rng("bursts", platform, engine)
        self._rounds, self._together = (10, TOGETHER) if ground.long else (2, len(MOMENTS))
        self.done = 0
        self._numbers = [0] * self._together
        self._bursts: list[tuple[str, list[str]]] = []
        """The moment of each burst, and what was said in it."""
        self._order: dict[str, datetime] = {}
        """When things were said, by the platform."""
        self._arrivals: list[str] = []

    @property
    def bursts(self) -> int:
        return self._rounds * self._together

    def play(self, told: Callable[[], None]) -> list[Figure]:
        """Let one round of bursts follow the other."""
        (home := self._directory / "home").mkdir(parents=True)
        with (
            kept_in(self._engine, self._directory) as kept,
            self._stage() as stage,
            model_server(self._directory, delay_ms=WORD_MS) as model,
            zygote({"HOME": str(home)}, stderr=home / "stderr") as helper,
        ):
            asyncio.run(stage.prepare(kept.url))
            env = {**model.env, **stage.env, "DATABASE_URL": kept.url, "LOG_FORMAT": "json"}
            with bot_in(helper, self._directory / "bot", env) as running:
                bot = Replica("bot", running)
                bot.start()
                wait_for(lambda: stage.heard() and bot.readiness() == 200)
                for place in range(self._together):
                    self._say(stage, place, datetime.now(UTC))
                self._settle(stage)
                for number in range(self._rounds):
                    self._round(stage, model, number)
                    self.done += self._together
                    told()
                assert bot.stop() == 0
                assert not bot.complaints, bot.complaints
                ledger, calls = kept.ledger, model.calls()
            account = account_of(stage, ledger, calls)
            prompts = [call["body"]["messages"] for call in calls]
            return named(self._name, [*self._figures(ledger, prompts), *account.figures()])

    def _stage(self) -> TimedStage:
        count = self._together
        return TimedDiscord(count, shards=1, threads=True) if self._platform == "Discord" else TimedSlack(count)

    def _round(self, stage: TimedStage, model: Model, number: int) -> None:
        """Ask first where a turn is to be under way, then let all bursts come at once."""
        moments = {place: MOMENTS[(place + number) % len(MOMENTS)] for place in range(self._together)}
        shown = {place: len(stage.shown(place)) for place in moments}
        for place, moment in moments.items():
            if moment != IDLE:
                asked = self._next(place)
                # In front of the first word comes the head of the answer, with a pause of its own.
                pause, fill = (700, 1) if moment == ASKED else (2 * WORD_MS, 20)
                words = ["well, "] * fill + [f"You asked: {asked}"]
                model.plan({"to": f"{asked.split()[0]} ", "say": words, "pause_ms": pause})
                self._say(stage, place, datetime.now(UTC), asked)
        answering = [place for place, moment in moments.items() if moment == ANSWERING]
        wait_for(lambda: all(len(stage.shown(place)) > shown[place] for place in answering), pause=0.01)
        self._burst(stage, moments)
        self._settle(stage)

    def _burst(self, stage: TimedStage, moments: dict[int, str]) -> None:
        """Say five things within 300 ms in each place, which arrive in another order than they were said in."""
        began = datetime.now(UTC)
        arriving: list[tuple[float, int, datetime, str]] = []
        for place, moment in moments.items():
            said_at = sorted(began + WITHIN * self._rng.random() for _ in range(MESSAGES))
            burst = [self._next(place) for _ in range(MESSAGES)]
            self._bursts.append((moment, burst))
            arrives_at = [self._rng.uniform(0, WITHIN.total_seconds()) for _ in burst]
            arriving += [(when, place, at, text) for when, at, text in zip(arrives_at, said_at, burst, strict=True)]
        start = time.monotonic()
        for when, place, at, text in sorted(arriving):
            time.sleep(max(0.0, start + when - time.monotonic()))
            self._say(stage, place, at, text)

    def _next(self, place: int) -> str:
        self._numbers[place] += 1
        return f"p{place}-{self._numbers[place]} and what of this?"

    def _say(self, stage: TimedStage, place: int, at: datetime, text: str = "") -> None:
        text = text or self._next(place)
        # A platform's milliseconds tell no two messages of one place apart that the same one holds.
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        self._order[text.split()[0]] = at
        self._arrivals.append(text)
        stage.say_at(place, text, at)

    def _settle(self, stage: TimedStage) -> None:
        wait_for(lambda: not self._open(stage), told=lambda: str(self._open(stage)))
        stage.until(stage.quiet)

    def _open(self, stage: TimedStage) -> list[str]:
        """Name the last message of each place as long as no whole answer repeats it."""
        last = [(place, stage.said(place)[-1]) for place in range(self._together)]
        return [text for place, text in last if not any(shown.endswith(text) for shown in stage.shown(place))]

    def _figures(self, ledger: Ledger, prompts: Sequence[list[dict[str, str]]]) -> list[Figure]:
        turns = {said.text: said.turn for said in ledger.said}
        torn = [str(burst) for _, burst in self._bursts if len({turns.get(text) for text in burst}) > TURNS]
        early = [f"{said.text!r} before {said.answers}" for said in ledger.said if not _fits(said.text, said.answers)]
        mixed = [str(shown) for shown in map(_said_in, prompts) if shown != sorted(shown, key=self._order.__getitem__)]
        swapped = sum(not _sorted_by_number(arrived) for arrived in self._arrived())

        def none_of(name: str, seen: Sequence[str], of: int) -> Figure:
            return Figure(name=name, value=len(seen), at_most=0, of=of, seen=tuple(seen))

        return [
            *(Figure(name=moment, value=sum(said == moment for said, _ in self._bursts), at_least=1) for moment in MOMENTS),
            Figure(name="of them in another order than said", value=swapped, at_least=1),
            none_of(f"bursts in more than {TURNS} turns", torn, self.bursts),
            none_of("answers that don't follow what they answer", early, len(ledger.turns)),
            none_of("prompts out of order", mixed, len(prompts)),
        ]

    def _arrived(self) -> list[list[str]]:
        """What was said in each burst, in the order in which it arrived."""
        arrived = {text: number for number, text in enumerate(self._arrivals)}
        return [sorted(burst, key=arrived.__getitem__) for _, burst in self._bursts]


def _fits(text: str, answers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether what stands behind a message answers that message, which is the last one of its turn."""
    return all(answer.endswith(text) for answer, _ in answers)


def _said_in(prompt: Sequence[dict[str, str]]) -> list[str]:
    """Name all that people said in a prompt, in its order."""
    return [found for message in prompt if message["role"] == "user" for found in _SAID.findall(message["content"])]


def _sorted_by_number(texts: Sequence[str]) -> bool:
    numbers = [int(text.split()[0].partition("-")[2]) for text in texts]
    return numbers == sorted(numbers)


TRIAL = Trial(
    number=5,
    name="order_and_bursts",
    what="People say five things within 300 ms, which arrive in any order, some of them while the bot answers.",
    run=run,
)
