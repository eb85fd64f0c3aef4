"""People who talk to a bot that is killed again and again, and what they and the store have of it in the end.

A life is one run of the bot. It is killed at a random moment while it has work, some lives before they hear anything. A turn
that was killed twice is let finish: three crashes of one turn set it aside, which is a promise of its own (`poison`). The
seed decides all choices; how far a life has come when it is killed is up to the machine.
"""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.bots import Bot
from tests.e2e.ledger import Ledger
from tests.trials.engines import Kept
from tests.trials.stages import PATIENCE, Stage

WORK_SECONDS = 0.5
"""How long a life goes on, on average, from the first turn that it takes up to its kill."""
EARLY, EARLY_SECONDS = 0.15, 0.6
"""The share of lives that are killed at any moment from their start on, and how old those become at most."""
LET_RESUME = 5
"""One life of so many is not killed before it has finished something that the one before left. How long that takes is
measured in these alone: of the others only the fast ones would count."""
THINK_SECONDS = 0.3
"""After an answer people say more within this time."""
IN_A_ROW = 0.15
"""How often somebody says two things in a row."""
ORPHANED_SECONDS = 60
ENDING = "to you?"
"""What everything that is said ends with, and so every whole answer."""
TICK = 0.01
_SAID = re.compile(r"\bp(\d+)-(\d+)")
_FINISHED = re.compile(r'"turn\.finished", "turn": (\d+)')


@dataclass
class Seen:
    """What came of the lives so far."""

    kills: int = 0
    early: int = 0
    lives: int = 0
    resumed: list[float] = field(default_factory=list)
    """Seconds from a restart to the first whole answer that the life before owed."""
    orphaned: set[tuple[int, int]] = field(default_factory=set)
    """Half messages, by place and number, that stood for longer than `ORPHANED_SECONDS`."""


class Killing:
    """One bot on one platform, with people in every place of it."""

    def __init__(self, stage: Stage, kept: Kept, bot: Bot, rng: random.Random) -> None:
        self._stage = stage
        self._kept = kept
        self._bot = bot
        self._rng = rng
        self._spoken = [0] * stage.places
        self._waiting: dict[int, int] = {}
        """The places whose person waits for an answer, with the number of what they said last."""
        self._speaks_at = [0.0] * stage.places
        self._silent = False
        self._halves: dict[tuple[int, int], float] = {}
        self._owed: dict[int, int] = {}
        """The places where the dead process had a turn in hand whose answer nobody sees yet, with the number of what it
        answers."""
        self._killed_twice: set[int] = set()
        """Turns that one more kill would set aside."""
        self.seen = Seen()

    def run(self, turns: int, kills: int, *, progress: Callable[[int], None]) -> None:
        """Live and die until there were so many turns and kills at least, then answer what is left."""
        self._begin()
        begun = 0
        while begun < turns or self.seen.kills < kills:
            self._live()
            begun = self._look(self._kept.ledger)
            progress(begun)
        self._kept.outlast()
        self._start()
        self._silent = True
        self._until(lambda: not self._waiting)
        self._stage.until(self._stage.quiet)
        assert self._bot.stop() == 0, "a life that was asked to stop did not end in good order"
        self._look(self._kept.ledger)

    @property
    def orphans(self) -> int:
        """Half messages that are left, and those that stood for too long."""
        return len(self._halves.keys() | self.seen.orphaned)

    def _begin(self) -> None:
        """Let the bot come and answer everybody once.

        What was said before is none of its business, and who dies before it has kept where it began, begins anew.
        """
        self._start()
        self._stage.until(self._stage.heard)
        self._until(lambda: all(self._answered(place, 1) for place in range(self._stage.places)))
        self._kill()

    def _live(self) -> None:
        """Live one life to its kill."""
        self._kept.outlast()
        began, owed = time.monotonic(), self._owed
        let_resume = bool(owed) and self._rng.random() < 1 / LET_RESUME
        early = not let_resume and self._rng.random() < EARLY
        claims = self._claims()
        self._start()
        if early:
            self._pass(self._rng.uniform(0, EARLY_SECONDS))
        else:
            if let_resume:
                self._until(lambda: any(self._answered(*owing) for owing in owed.items()))
                self.seen.resumed.append(time.monotonic() - began)
            # Where it is busy, a life may take longer than that to read what was said while nobody was there.
            self._until(lambda: self._claims() > claims, tick=0.05)
            self._pass(self._rng.uniform(0, 2 * WORK_SECONDS))
        self._until(lambda: self._killed_twice <= self._finished(), tick=0.05)
        self._kill()
        self.seen.early += early

    def _finished(self) -> set[int]:
        return set(map(int, _FINISHED.findall(self._bot.errors)))

    def _claims(self) -> int:
        return self._bot.errors.count('"turn.claimed"')

    def _start(self) -> None:
        self.seen.lives += 1
        self._bot.start()

    def _kill(self) -> None:
        self._bot.kill()
        self.seen.kills += 1
        self._stage.until(lambda: not self._stage.heard())
        self._stage.forget()

    def _look(self, ledger: Ledger) -> int:
        """See from the store what the life that ended leaves, and return how many turns there were so far."""
        held = {turn.id: turn for turn in ledger.open if turn.attempts}
        owed = {turn.id: _numbered(said.text) for said in ledger.said if (turn := held.get(said.turn or 0))}
        left = {turn: owing for turn, owing in owed.items() if not self._answered(*owing)}
        self._owed = dict(left.values())
        self._killed_twice = {turn.id for turn in held.values() if turn.state == "running" and turn.attempts > 1}
        self._look_for_halves()
        return len(ledger.turns)

    def _look_for_halves(self) -> None:
        now = time.monotonic()
        halves = {
            (place, number)
            for place in range(self._stage.places)
            for number, text in enumerate(self._stage.shown(place))
            if not text.endswith(ENDING)
        }
        self._halves = {half: self._halves.get(half, now) for half in halves}
        self.seen.orphaned |= {half for half, since in self._halves.items() if now - since > ORPHANED_SECONDS}

    def _until(self, holds: Callable[[], object], *, tick: float = TICK) -> None:
        """Let people talk until something holds."""
        limit = time.monotonic() + PATIENCE.total_seconds()
        while not holds():
            assert time.monotonic() < limit, f"this did not come: {self._waiting} wait, {self._owed} are owed an answer"
            self._pass(tick)

    def _pass(self, seconds: float) -> None:
        """Let people talk for a while."""
        until = time.monotonic() + seconds
        while True:
            self._talk()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, TICK))

    def _talk(self) -> None:
        """Let everybody say something who is not waiting for an answer."""
        now = time.monotonic()
        for place in range(self._stage.places):
            if place in self._waiting:
                if self._answered(place, self._waiting[place]):
                    del self._waiting[place]
                    self._speaks_at[place] = now + self._rng.uniform(0, THINK_SECONDS)
            elif now >= self._speaks_at[place] and not self._silent:
                self._say(place)
                if self._rng.random() < IN_A_ROW:
                    self._say(place)
                self._waiting[place] = self._spoken[place]

    def _say(self, place: int) -> None:
        self._spoken[place] += 1
        self._stage.say(place, f"p{place}-{self._spoken[place]} what is {self._rng.randrange(10**6)} {ENDING}")

    def _answered(self, place: int, number: int) -> bool:
        """People see the whole answer to this, or to something later: it is answered together with that, perhaps."""
        whole = [text for text in self._stage.shown(place) if text.endswith(ENDING)]
        return any(_numbered(text)[1] >= number for text in reversed(whole))


def _numbered(text: str) -> tuple[int, int]:
    """Tell the place where something was said, or what it answers, and its number there."""
    found = _SAID.search(text)
    assert found is not None, text
    return int(found[1]), int(found[2])
