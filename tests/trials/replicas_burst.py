"""Bursts of people at four replicas, each event delivered to two of them: no conversation is answered twice at once."""

import time
from collections.abc import Sequence

from tests.engines.postgres import PostgresServer
from tests.trials.auditing import named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import rig
from tests.trials.trial import Figure, Ground, Trial

REPLICAS = 4
COPIES = 2


def run(ground: Ground) -> Sequence[Figure]:
    """Let everybody write at once, as fast as they can."""
    places, messages = (50, 20) if ground.long else (10, 6)
    figures: list[Figure] = []
    with PostgresServer.made() as server:
        for make in platforms(ground):
            directory = ground.directory / make.__name__
            with make(places) as stage, rig(stage, PostgresDatabase(server), directory, delay_ms=3) as here:
                here.add(REPLICAS)
                stage.copies(COPIES)
                rng = ground.rng(stage.name)
                order = [place for place in range(places) for _ in range(messages)]
                rng.shuffle(order)
                spoken = [0] * places
                for done, place in enumerate(order):
                    spoken[place] += 1
                    stage.say(place, f"p{place}-{spoken[place]} what of it?")
                    time.sleep(rng.choice((0, rng.uniform(0, 0.05))))  # some come before the first word, some behind it
                    ground.progress(done, len(order))
                account = settled_account(here)
                workers = [len(replica.logged("turn.claimed")) for replica in here.replicas]
                own = [
                    Figure(name="turns of the least busy replica", value=min(workers)),
                    Figure(name="refused by a rate limit", value=stage.refused(), of=account.turns),
                ]
                figures += named(stage.name, [*account.figures(), *own])
    return figures


TRIAL = Trial(
    number=3,
    name="replicas_burst",
    what="People write in bursts to 4 replicas, each event is delivered to 2 of them.",
    run=run,
)
