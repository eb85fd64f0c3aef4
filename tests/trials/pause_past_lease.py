"""A holder that is stopped for longer than its lease, in the middle of many turns, and wakes after they were taken over."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.e2e.ledger import Ledger
from tests.e2e.replica import Replica
from tests.engines.postgres import PostgresServer
from tests.trials.auditing import Account, named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import SHORT_LEASE, Rig, rig
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

THINKING, WAITING, EDITING = MOMENTS = (
    "turns stopped before the model answered",
    "turns stopped after it, before the first send",
    "turns stopped before the last edit",
)
KINDS = 4
"""What happens in the places, in turn: the bot is asked to wait before it posts; the model takes its time, so that it
answers while the bot is stopped, and the answer lies there when it wakes; as the first; the bot is asked to wait before it
edits."""
WAIT_SECONDS = 12


@dataclass
class _Seen:
    account: Account = field(default_factory=Account)
    moments: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    took: float = 0.0


def run(ground: Ground) -> Sequence[Figure]:
    """Stop a replica that holds all turns, let another one take them over, and wake the first one."""
    rounds, places = (5, 3 * KINDS) if ground.long else (1, KINDS)
    figures: list[Figure] = []
    with PostgresServer.made() as server:
        for make in platforms(ground):
            seen = _Seen()
            for number in range(rounds):
                directory = ground.directory / f"{make.__name__}{number}"
                lease = None if ground.long else SHORT_LEASE
                with (
                    make(places, together=KINDS) as stage,
                    rig(stage, PostgresDatabase(server), directory, lease=lease, delay_ms=3) as here,
                ):
                    _one_round(here, seen)
                ground.progress(number + 1, rounds)
            own = [
                *(Figure(name=moment, value=seen.moments[moment], at_least=1) for moment in MOMENTS),
                Figure(
                    name="stale writes", value=len(seen.stale), at_most=0, of=seen.moments.total(), seen=tuple(seen.stale)
                ),
                Figure(name="longest time to take over", value=round(seen.took, 1), unit="s", at_most=40),
            ]
            figures += named(make.name, [*seen.account.figures(overlaps=False), *own])
    return figures


def _one_round(here: Rig[Stage], seen: _Seen) -> None:
    stage = here.stage
    (holder,) = here.add()
    for place in range(stage.places):
        if place % KINDS == 1:
            here.model.plan({"to": f"p{place}-", "say": ["I", " come", " too", " late"], "pause_ms": 1500})
        else:
            stage.make_wait(place, WAIT_SECONDS, edits=place % KINDS == 3)
        stage.say(place, f"p{place}-1 are you there?")
    wait_for(
        lambda: len(here.model.calls()) == stage.places and set(_moments(here.ledger)) == set(MOMENTS),
        pause=0.01,
        told=lambda: str(_moments(here.ledger)),
    )
    holder.pause()
    stopped, before = time.monotonic(), here.ledger
    held = _moments(before)
    seen.moments += held

    here.add()
    open_ones = {turn.conversation for turn in before.open}

    def taken_over() -> bool:
        was, now = dict(before.epochs), dict(here.ledger.epochs)
        return all(now[conversation] > was[conversation] for conversation in open_ones)

    wait_for(taken_over)
    seen.took = max(seen.took, time.monotonic() - stopped)
    here.settle(stage.places, quiet=False)
    settled, writes = here.ledger, len(stage.writes())

    holder.go_on()
    wait_for(lambda: _let_go(holder) >= len(open_ones), told=lambda: str(_let_go(holder)))
    assert here.ledger == settled, "who came too late changed the store"
    seen.stale += stage.writes()[writes:]

    stage.say(0, "p0-2 and now?")
    stage.say(1, "p1-2 and now?")
    seen.account += settled_account(here)
    assert [replica.stop() for replica in here.replicas] == [0, 0]


def _let_go(holder: Replica) -> int:
    """Count the turns that it has given up, having found its lease gone, or its connections first and then its lease."""
    return len(holder.logged("turn.lost")) + len(holder.logged("turn.not_handed_back"))


def _moments(ledger: Ledger) -> Counter[str]:
    """Tell how far the open turns have come."""
    return Counter(
        EDITING if turn.shown else WAITING if turn.state == "delivering" else THINKING
        for turn in ledger.open
        if turn.attempts
    )


TRIAL = Trial(
    number=4,
    name="pause_past_lease",
    what="A replica is stopped for longer than its lease in the middle of turns, and wakes after they were taken over.",
    run=run,
)
