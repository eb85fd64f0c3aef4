"""SIGTERM while many turns are running: the process ends soon, and what it has not finished is by who comes next."""

import itertools
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.e2e.replica import Replica, moment
from tests.e2e.servers import Model
from tests.trials.auditing import Account, audit, named
from tests.trials.engines import ENGINES, Kept, PostgresDatabase, kept_in
from tests.trials.platforms import platforms
from tests.trials.rigs import rig
from tests.trials.scenes import Scene, play_all
from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for, wait_for_answers

LATECOMERS = 5
"""Places whose people begin to talk only after SIGTERM."""
LATE_SECONDS = 2.0
LATE_EVERY = 0.1
BESIDE_SECONDS = 2
"""What the end may take beside the time that running turns get."""
INTAKE_SECONDS = 1
TAKEN_UP_SECONDS = 10
"""A third of a lease, which nobody who comes next need wait for."""
BUSY = 3
"""Short forms share a busy machine, and have so many times as long."""
QUICK, SLOW, THINKING = KINDS = ("quick", "slow", "thinking")
"""What the model does in the places, in turn: it ends soon; it goes on for a minute and a half; it says nothing for long."""
ONE_SHARD = 1
CONCURRENT = 64
PATIENT = "60"
"""The seconds that the process which comes next gets for its own end."""


def run(ground: Ground) -> Sequence[Figure]:
    """Stop the bot on every platform and engine; in the short form on one of each, with less to do and less time for it."""
    engines = ENGINES if ground.long else (ground.rng("engine").choice(ENGINES),)
    pairs = itertools.product(platforms(ground), engines)
    return play_all(ground, [Drain(ground, platform.name, engine) for platform, engine in pairs], at_once=1)


@dataclass
class _Seen:
    running: int = 0
    visible: int = 0
    """Turns of which people saw a part at SIGTERM."""
    late: dict[str, float] = field(default_factory=dict)
    """What was said after SIGTERM, and how many seconds after."""
    ended: float = 0.0
    code: int = 0
    taken_up: float = 0.0
    last_taken: float = 0.0


class Drain(Scene):
    """One platform and one engine: a file has one process after the other, a database two beside each other."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        # A third of them ends before SIGTERM where the machine is slow, so there are some more.
        self._turns, self._running, self._drain, self._busy = (60, 50, 25, 1) if ground.long else (12, 8, 2, BUSY)
        self._seen = _Seen()

    def play(self) -> list[Figure]:
        """Let all of them ask, stop the process that answers, and let another one go on."""
        with (
            kept_in(self.engine, self.directory) as kept,
            self._stage() as stage,
            rig(stage, kept, self.directory, delay_ms=20) as here,
        ):
            here.env["MAX_CONCURRENT_TURNS"] = str(CONCURRENT)
            first = here.replica("first", DRAIN_SECONDS=str(self._drain))
            following = here.replica("next", DRAIN_SECONDS=PATIENT)
            here.start(first)
            self._ask(stage, here.model, first)
            if self.engine == PostgresDatabase.name:
                here.start(following)
                if self.platform == DiscordStage.name:  # what it alone hears it hands over to who it knows of
                    wait_for(lambda: any(line["others"] for line in first.logged("discord.shards")))
                self._stop(stage, first)
            else:
                self._stop(stage, first)
                self._look_at_what_came_late(kept)
                here.start(following)
            self._see_it_taken_up(first, following)
            wait_for_answers(stage)
            # What was said last may be answered before what was said earlier, and came later.
            wait_for(lambda: stage.quiet() and not _under_way(following), told=lambda: str(_under_way(following)))
            assert following.stop() == 0
            return named(self.name, self._figures(audit(here), first, following))

    def _stage(self) -> Stage:
        places = self._turns + LATECOMERS
        return DiscordStage(places, shards=ONE_SHARD) if self.platform == DiscordStage.name else SlackStage(places)

    def _ask(self, stage: Stage, model: Model, first: Replica) -> None:
        """Let one person in each place but the last ones ask something, and wait until all of that is being answered."""
        for place in range(self._turns):
            kind = KINDS[place % len(KINDS)]
            text = f"p{place}-1 how are you ({kind})?"
            words = f"You asked: {text}".split(" ")
            ends = [f"{word} " for word in words[:-1]] + words[-1:]
            slow = {
                QUICK: {"say": ends, "pause_ms": 500 + self._drain * 50},
                SLOW: {"say": ["well, "] * 50 + ends, "pause_ms": 1500},
                THINKING: {"say": ends, "pause_ms": 12_000},
            }
            model.plan({"to": f"p{place}-1 ", **slow[kind]})
            stage.say(place, text)
        slow_ones = [place for place in range(self._turns) if KINDS[place % len(KINDS)] == SLOW]
        wait_for(
            lambda: len(first.logged("turn.claimed")) == self._turns and all(map(stage.shown, slow_ones)),
            told=lambda: str(len(first.logged("turn.claimed"))),
        )

    def _stop(self, stage: Stage, first: Replica) -> None:
        """Ask it to end, and let other people begin to talk."""
        seen = self._seen
        seen.running = len(first.logged("turn.claimed")) - len(first.logged("turn.finished"))
        seen.visible = sum(bool(stage.shown(place)) for place in range(self._turns))
        os.kill(first.life.pid, signal.SIGTERM)
        asked = time.monotonic()
        for number in itertools.count(1):
            if (since := time.monotonic() - asked) > LATE_SECONDS:
                break
            place = self._turns + number % LATECOMERS
            text = f"p{place}-{number} am I too late?"
            seen.late[text] = since
            stage.say(place, text)
            time.sleep(LATE_EVERY)
        seen.code = first.life.ended()
        seen.ended = time.monotonic() - asked

    def _look_at_what_came_late(self, kept: Kept) -> None:
        """See what the process that was stopped has still taken in."""
        taken = [self._seen.late[text] for text in kept.ledger.texts if text in self._seen.late]
        self._seen.last_taken = max(taken, default=0.0)

    def _see_it_taken_up(self, first: Replica, following: Replica) -> None:
        """Measure how long what was handed back waits: from then on, or from the start of who comes next."""
        left = {line["turn"] for line in first.logged("turn.handed_back")}

        def claims() -> list[dict[str, Any]]:
            return [line for line in following.logged("turn.claimed") if line["turn"] in left]

        wait_for(lambda: {line["turn"] for line in claims()} == left)
        last = max(map(moment, claims()), default=None)
        if last is not None:
            begun = (
                first.logged("turns.handed_back")
                if self.engine == PostgresDatabase.name
                else following.logged("app.started")
            )
            self._seen.taken_up = max(last - moment(begun[-1]), timedelta()).total_seconds()

    def _figures(self, account: Account, first: Replica, following: Replica) -> list[Figure]:
        seen = self._seen
        back, finished = len(first.logged("turn.handed_back")), len(first.logged("turn.finished"))
        figures = [
            Figure(name="turns running at SIGTERM", value=seen.running, at_least=self._running),
            Figure(name="of which people saw a part", value=seen.visible, at_least=self._turns // len(KINDS)),
            Figure(name="end", value=round(seen.ended, 1), unit="s", at_most=self._drain + BESIDE_SECONDS * self._busy),
            Figure(name="exit code", value=seen.code, at_most=0, at_least=0),
            Figure(name="finished before the end", value=finished),
            Figure(name="handed back", value=back, at_least=1),
            Figure(
                name="until all of that is taken up",
                value=round(seen.taken_up, 2),
                unit="s",
                at_most=TAKEN_UP_SECONDS,
            ),
        ]
        if self.engine != PostgresDatabase.name:
            last = round(seen.last_taken, 2)
            figures.append(
                Figure(name="last message taken in after SIGTERM", value=last, unit="s", at_most=INTAKE_SECONDS * self._busy)
            )
        return [*figures, *account.figures()]


def _under_way(replica: Replica) -> set[int]:
    """Name the turns that a process has claimed and not finished."""
    claimed, finished = ({line["turn"] for line in replica.logged(event)} for event in ("turn.claimed", "turn.finished"))
    return claimed - finished


TRIAL = Trial(
    number=11,
    name="drain",
    what="The bot gets SIGTERM with 50 turns running, people go on talking; another process goes on beside it or after it.",
    run=run,
)
