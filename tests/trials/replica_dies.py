"""A replica that is killed while it holds turns: the others go on, and finish what it left."""

import time
from collections.abc import Sequence
from random import Random

from tests.e2e.replica import Replica
from tests.engines.postgres import PostgresServer
from tests.trials.auditing import Account, named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import SHORT_LEASE, Rig, rig
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

REPLICAS = 3
PLACES = 12


def run(ground: Ground) -> Sequence[Figure]:
    """Let the model be slow, so that each replica holds turns, and kill one of them."""
    rounds = 5 if ground.long else 1
    figures: list[Figure] = []
    with PostgresServer.made() as server:
        for make in platforms(ground):
            account, orphaned, took = Account(), 0, 0.0
            for number in range(rounds):
                directory = ground.directory / f"{make.__name__}{number}"
                lease = None if ground.long else SHORT_LEASE
                with (
                    make(PLACES) as stage,
                    rig(stage, PostgresDatabase(server), directory, lease=lease, delay_ms=200) as here,
                ):
                    held, seconds = _one_round(here, ground.rng(stage.name, number))
                    orphaned, took = orphaned + held, max(took, seconds)
                    account += settled_account(here)
                ground.progress(number + 1, rounds)
            own = [
                Figure(name="turns of the killed replica", value=orphaned, at_least=1),
                Figure(name="longest time to take over", value=round(took, 1), unit="s", at_most=40),
            ]
            figures += named(make.name, [*account.figures(overlaps=False), *own])
    return figures


def _one_round(here: Rig[Stage], rng: Random) -> tuple[int, float]:
    """Return how many turns the killed replica held, and in how many seconds all of them were taken over."""
    here.add(REPLICAS)
    for place in range(here.stage.places):
        here.stage.say(place, f"p{place}-1 are you all there?")

    def holders() -> list[Replica]:
        return [one for one in here.replicas if len(one.logged("turn.claimed")) > len(one.logged("turn.finished"))]

    wait_for(lambda: holders() and len(here.ledger.open) > here.stage.places // 2, pause=0.01)
    dying = rng.choice(holders())
    dying.kill()
    died = time.monotonic()
    finished = {line["turn"] for line in dying.logged("turn.finished")}
    left = {line["turn"] for line in dying.logged("turn.claimed")} - finished
    for place in range(here.stage.places):
        here.stage.say(place, f"p{place}-2 and now?")
    others = [replica for replica in here.replicas if replica is not dying]

    def taken_over() -> bool:
        claimed = {line["turn"] for replica in others for line in replica.logged("turn.claimed")}
        return left <= claimed

    wait_for(taken_over)
    took = time.monotonic() - died
    dying.start()
    return len(left), took


TRIAL = Trial(
    number=16,
    name="replica_dies",
    what="One of 3 replicas is killed while it holds turns.",
    run=run,
)
