"""Events that come again: one row, one model call, one answer, however often, wherever and whenever they are delivered.

Everything that is said is delivered once to ten times at once; then all of it is delivered again while the bot goes on,
after it was started anew, after its event ids have become six minutes old, and together with what the catch-up
reads of the time in which the bot was away. On PostgreSQL two replicas hear it; on Discord that is while a shard changes
hands. In the short form the seed chooses an engine for each platform.
"""

import random
from collections.abc import Sequence
from datetime import timedelta

from tests.e2e.bots import Bot
from tests.trials.auditing import Account, audit, named
from tests.trials.engines import Kept, PostgresDatabase, kept_in
from tests.trials.rigs import rig
from tests.trials.scenes import Scene, all_or_one_each, play_all
from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial

MOST_COPIES = 10
REPLICAS = 2
SIX_MINUTES = timedelta(minutes=6)


def run(ground: Ground) -> Sequence[Figure]:
    """Deliver everything again and again, on both platforms and both engines."""
    return play_all(ground, [Duplicates(ground, *pair) for pair in all_or_one_each(ground)])


class Duplicates(Scene):
    """One platform and one engine, where rounds are the steps."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        self._rng = ground.rng("duplicates", platform, engine)
        self._replicas = REPLICAS if engine == PostgresDatabase.name else 1
        self._places, self.steps = (20, 10) if ground.long else (4, 1)

    def play(self) -> list[Figure]:
        """Go through all the ways in which an event comes again, round after round."""
        with (
            kept_in(self.engine, self.directory) as kept,
            self._stage() as stage,
            rig(stage, kept, self.directory) as here,
        ):
            bots = [here.bot(f"bot{number}", SWEEP_INTERVAL="1s") for number in range(self._replicas)]
            repeating = Repeating(stage, kept, bots, self._rng)
            repeating.begin()
            for number in range(self.steps):
                repeating.round(number)
                self.done += 1
            repeating.end()
            account = audit(here)
        return named(self.name, _figures(account, repeating, self._replicas))

    def _stage(self) -> Stage:
        if self.platform == DiscordStage.name:
            return DiscordStage(self._places, shards=1, threads=True)
        return SlackStage(self._places, threads=True)


class Repeating:
    """People who say one thing at a time, each in a place of their own, and a platform that tells of it again and again."""

    def __init__(self, stage: Stage, kept: Kept, bots: Sequence[Bot], rng: random.Random) -> None:
        self._stage = stage
        self._kept = kept
        self._bots = bots
        self._rng = rng
        self._spoken = 0
        self.deliveries = 0
        """How often an event was delivered beyond its first time, by our own count."""
        self.overlaps = 0
        """How often two replicas heard the same."""

    def begin(self) -> None:
        """Let everybody come and be answered once."""
        self._start()
        self._say()

    def round(self, number: int) -> None:
        """Let each event come again in every way; after a restart it is six minutes old every other time."""
        self._say(at_most=MOST_COPIES)
        self._again()
        if len(self._bots) > 1:
            self._overlap()
        self._restart(age=timedelta() if number % 2 else SIX_MINUTES)
        self._again()
        self._say_while_away()

    def end(self) -> None:
        """See that nothing is left that still works on what came again, and stop."""
        self._say()
        self._stage.until(self._stage.quiet)
        self._stop()

    def _start(self) -> None:
        for bot in self._bots:
            bot.start()
        self._stage.until(self._stage.heard)

    def _stop(self) -> None:
        """In good order: a kill may cost a call of the model, which is another trial's business (`kill`)."""
        assert [bot.stop() for bot in self._bots] == [0] * len(self._bots)
        self._stage.until(lambda: not self._stage.heard())
        self._kept.outlast()

    def _restart(self, *, age: timedelta = timedelta()) -> None:
        self._stop()
        if age:
            self._kept.age(age)
        self._start()

    def _say(self, *, at_most: int = 1) -> None:
        """Let everybody say something, which is delivered up to so many times at once, and be answered."""
        self._speak(at_most=at_most)
        self._answered()

    def _speak(self, *, at_most: int = 1) -> None:
        self._spoken += 1
        for place in range(self._stage.places):
            copies = self._rng.randint(1, at_most)
            self.deliveries += copies - 1
            self._stage.copies(copies)
            self._stage.say(place, f"p{place}-{self._spoken} and what of it?")
        self._stage.copies(1)

    def _answered(self) -> None:
        text = f"-{self._spoken} and what of it?"
        self._stage.until(
            lambda: all(
                any(shown.endswith(text) for shown in self._stage.shown(place)) for place in range(self._stage.places)
            )
        )

    def _again(self) -> None:
        """Deliver what was said last again; what is said then is heard behind that, so that is over when it is answered."""
        for place in range(self._stage.places):
            copies = self._rng.randint(1, MOST_COPIES)
            self.deliveries += copies
            self._stage.again(place, copies)
        self._say()

    def _say_while_away(self) -> None:
        """Say what the catch-up will read, and deliver it at the same time."""
        self._stop()
        self._speak()
        self._start()
        for place in range(self._stage.places):
            copies = self._rng.randint(1, MOST_COPIES)
            self.deliveries += copies
            self._stage.again(place, copies)
        self._answered()
        self._say()

    def _overlap(self) -> None:
        """Let two replicas hear the same: on Slack both have a socket, on Discord one takes a shard from a holder that was
        silent for too long, and still hears."""
        if not self._stage.overlaps():
            self._stage.until(self._both_hear)
        self.overlaps += self._stage.overlaps()
        self._say(at_most=MOST_COPIES)

    def _both_hear(self) -> bool:
        self._kept.execute("UPDATE replica SET until = 0")
        return self._stage.overlaps()


def _figures(account: Account, repeating: Repeating, replicas: int) -> list[Figure]:
    messages = account.messages
    overlaps = [Figure(name="times that two replicas heard the same", value=repeating.overlaps, at_least=1)]
    return [
        Figure(name="messages", value=messages),
        Figure(name="deliveries beyond the first", value=repeating.deliveries),
        *(overlaps if replicas > 1 else ()),
        Figure(name="messages lost", value=account.lost + account.unanswered, at_most=0, of=messages),
        Figure(name="rows beyond one", value=account.stored_twice, at_most=0, of=messages),
        Figure(name="model calls beyond one", value=account.calls - messages, at_most=0, of=messages),
        Figure(name="answers beyond one", value=account.shown_twice, at_most=0, of=messages),
        Figure(name="answers not shown", value=account.not_shown, at_most=0, of=messages),
    ]


TRIAL = Trial(
    number=3,
    name="duplicates",
    what="Events come up to 10 times: at once, later, after a restart, 6 minutes older, live and by the catch-up together.",
    run=run,
)
