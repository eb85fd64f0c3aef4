"""Outages of the bot, for minutes and for hours, and of the platform: each missed message is answered once, or told of.

Nobody waits for hours here: a message's identity tells when it was said, and the marks up to which the bot has read are set
back, so that it was away since then.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from bot.adapters.discord.catch_up import OLDEST
from bot.chat.words import unanswered
from tests.e2e.ledger import Ledger
from tests.e2e.replica import Replica
from tests.trials.auditing import Account, account_of, named
from tests.trials.engines import kept_in
from tests.trials.rigs import Rig, rig
from tests.trials.scenes import Scene, all_or_one, play_all
from tests.trials.stage_times import TimedDiscord, TimedSlack, TimedStage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for, wait_for_answers

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BEFORE = 9 * HOUR
"""When people spoke last before the bot came to them."""
LEFT = 8 * HOUR
"""When it went away."""
AN_HOUR = {"Discord": 3_600_000 << 22, "Slack": 3_600_000_000}
"""By how much two marks differ that lie an hour apart."""
KINDS = (((7 * HOUR, 7 * HOUR - MINUTE), ()), ((7 * HOUR,), (10 * MINUTE,)), ((), (10 * MINUTE, 9 * MINUTE)), ((), ()))
"""What is said in the places while the bot is away, in turn: too long ago to be answered, and not."""
DEAF_SECONDS = 90
"""For so long it may not notice that the platform can be heard again: it asks for that with growing pauses."""
LINES = {unanswered(number, older_than=OLDEST) for number in range(1, 10)}
CAUGHT_UP = {"Discord": "discord.caught_up", "Slack": "slack.gap_read"}


def run(ground: Ground) -> Sequence[Figure]:
    """Let the bot be away on every platform and engine; in the short form on one of each, as the seed has it."""
    return play_all(ground, [Outage(ground, *pair) for pair in all_or_one(ground)])


class Outage(Scene):
    """One platform and one engine, and a bot that is away."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        self._places, self._away = (12, timedelta(minutes=2)) if ground.long else (4, timedelta(seconds=2))
        self._older: Counter[int] = Counter()
        """How much was said too long ago, by place."""
        self._due: set[str] = set()
        """What is to be answered."""
        self._numbers = itertools.count(1)
        self._heard_again = 0.0
        """The seconds until the bot hears again once it can."""

    def play(self) -> list[Figure]:
        """Be away, come back, and come back once more."""
        with (
            kept_in(self.engine, self.directory) as kept,
            self._stage() as stage,
            rig(stage, kept, self.directory, delay_ms=5) as here,
        ):
            bot = here.replica()
            self._meet(here, bot)
            self._come_back(here, bot)
            self._be_cut_off(here, bot)
            ledger = kept.ledger
            account = account_of(_Answerable(stage, self._due), ledger, here.model.calls())
        return named(self.name, self._figures(stage, ledger, account))

    def _stage(self) -> TimedStage:
        if self.platform == TimedDiscord.name:
            return TimedDiscord(self._places, shards=1, threads=True)
        return TimedSlack(self._places)

    def _meet(self, here: Rig[TimedStage], bot: Replica) -> None:
        """Let the bot come where people spoke before, answer what they say, and go."""
        for place in range(self._places):
            here.stage.say_at(place, f"p{place}-0 who comes there?", datetime.now(UTC) - BEFORE, heard=False)
        here.start(bot)
        for place in range(self._places):
            self._say(here.stage, place, datetime.now(UTC))
        self._end(here, bot)
        back = LEFT // HOUR * AN_HOUR[self.platform]
        here.kept.execute(f"UPDATE watermark SET position = position - {back}")  # noqa: S608

    def _come_back(self, here: Rig[TimedStage], bot: Replica) -> None:
        """Let people speak while the bot is away, and the bot come back."""
        now = datetime.now(UTC)
        for place in range(self._places):
            older, missed = KINDS[place % len(KINDS)]
            for ago in older:
                here.stage.say_at(place, f"p{place}-{next(self._numbers)} anybody?", now - ago, heard=False)
                self._older[place] += 1
            for ago in missed:
                self._say(here.stage, place, now - ago, heard=False)
        self._return(here, bot)
        self._end(here, bot)

    def _return(self, here: Rig[TimedStage], bot: Replica) -> None:
        """Start the bot, and wait until it has read what it missed."""
        # Direct messages and two guilds on Discord; a workspace for each two places on Slack.
        readings = 3 if self.platform == TimedDiscord.name else -(-self._places // 2)
        before = len(bot.logged(CAUGHT_UP[self.platform]))
        here.start(bot)
        wait_for(lambda: len(bot.logged(CAUGHT_UP[self.platform])) >= before + readings)

    def _be_cut_off(self, here: Rig[TimedStage], bot: Replica) -> None:
        """Let the bot come once more, be able to hear and not to write for a while, and then not to hear."""
        self._return(here, bot)
        stage = here.stage
        for outage in (stage.unwritable, stage.unheard):
            self._through(stage, outage)
            self._heard_again = max(self._heard_again, wait_for(stage.heard, within=5 * MINUTE))
            wait_for_answers(_Answerable(stage, self._due))
        self._end(here, bot)

    def _through(self, stage: TimedStage, outage: Callable[[], AbstractContextManager[None]]) -> None:
        for place in range(self._places):
            self._say(stage, place, datetime.now(UTC))
        with outage():
            began = time.monotonic()
            for place in range(self._places):
                self._say(stage, place, datetime.now(UTC))
            time.sleep(max(0.0, self._away.total_seconds() - (time.monotonic() - began)))

    def _say(self, stage: TimedStage, place: int, at: datetime, *, heard: bool = True) -> None:
        text = f"p{place}-{next(self._numbers)} are you there?"
        self._due.add(text)
        stage.say_at(place, text, at, heard=heard)

    def _end(self, here: Rig[TimedStage], bot: Replica) -> None:
        """Wait until all is answered, and let the bot go."""
        stage = here.stage
        wait_for_answers(_Answerable(stage, self._due))
        stage.until(stage.quiet)
        assert bot.stop() == 0
        wait_for(lambda: not stage.heard())
        assert not here.kept.ledger.open

    def _figures(self, stage: TimedStage, ledger: Ledger, account: Account) -> list[Figure]:
        strange = [text for text in ledger.texts if text not in self._due]
        never_due = sum(len(stage.said(place)) for place in range(self._places)) - account.messages
        wrong = []
        for place in range(self._places):
            lines = [text for text in stage.shown(place) if text in LINES]
            if lines != ([unanswered(self._older[place], older_than=OLDEST)] if self._older[place] else []):
                wrong.append(f"place {place}: {self._older[place]} were too old, it shows {lines}")
        too_old = self._older.total()
        return [
            *account.figures(),
            Figure(name="hears again once it can", value=round(self._heard_again, 1), unit="s", at_most=DEAF_SECONDS),
            Figure(name="too old to be answered", value=too_old),
            Figure(
                name="of them, or of before it came, taken in",
                value=len(strange),
                at_most=0,
                of=never_due,
                seen=tuple(strange),
            ),
            Figure(name="places not told of that once", value=len(wrong), at_most=0, of=self._places, seen=tuple(wrong)),
        ]


class _Answerable:
    """A stage on which nothing was said but what is due, and nothing shown but answers."""

    def __init__(self, stage: TimedStage, due: set[str]) -> None:
        self._stage = stage
        self._due = due

    @property
    def places(self) -> int:
        return self._stage.places

    def said(self, place: int) -> list[str]:
        return [text for text in self._stage.said(place) if text in self._due]

    def shown(self, place: int) -> list[str]:
        return [text for text in self._stage.shown(place) if text not in LINES]


TRIAL = Trial(
    number=6,
    name="outage",
    what="The bot comes back after ten minutes and after seven hours; the platform can't be written to, or not be heard.",
    run=run,
)
