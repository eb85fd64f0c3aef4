"""Bursts that arrive out of order, at an idle bot and at one that answers: kept in the platform's order, and answered."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.e2e.ledger import Ledger
from tests.e2e.servers import Model
from tests.trials.auditing import audit, named
from tests.trials.engines import kept_in
from tests.trials.rigs import rig
from tests.trials.scenes import Scene, all_or_one, play_all
from tests.trials.stage_times import TimedDiscord, TimedSlack, TimedStage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for, wait_for_answers

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
    return play_all(ground, [Bursts(ground, *pair) for pair in all_or_one(ground)])


class Bursts(Scene):
    """One platform and one engine, where bursts are the steps."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        self._rng = ground.rng("bursts", platform, engine)
        self._rounds, self._together = (10, TOGETHER) if ground.long else (2, len(MOMENTS))
        self.steps = self._rounds * self._together
        self._numbers = [0] * self._together
        self._bursts: list[tuple[str, list[str]]] = []
        """The moment of each burst, and what was said in it."""
        self._order: dict[str, datetime] = {}
        """When things were said, by the platform."""
        self._arrivals: list[str] = []

    def play(self) -> list[Figure]:
        """Let one round of bursts follow the other."""
        with (
            kept_in(self.engine, self.directory) as kept,
            self._stage() as stage,
            rig(stage, kept, self.directory, delay_ms=WORD_MS) as here,
        ):
            bot = here.replica()
            here.start(bot)
            for place in range(self._together):
                self._say(stage, place, datetime.now(UTC))
            self._settle(stage)
            for number in range(self._rounds):
                self._round(stage, here.model, number)
                self.done += self._together
            assert bot.stop() == 0
            return named(self.name, [*self._figures(kept.ledger, here.model.prompts()), *audit(here).figures()])

    def _stage(self) -> TimedStage:
        count = self._together
        return TimedDiscord(count, shards=1, threads=True) if self.platform == TimedDiscord.name else TimedSlack(count)

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
        wait_for_answers(stage)
        stage.until(stage.quiet)

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
            none_of(f"bursts in more than {TURNS} turns", torn, self.steps),
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
