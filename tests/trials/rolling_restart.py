"""Replicas that are restarted one after the other while people go on talking: nobody notices."""

import time
from collections.abc import Sequence
from datetime import timedelta

from tests.engines.postgres import PostgresServer
from tests.trials.auditing import named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import rig
from tests.trials.talking import talking
from tests.trials.trial import Figure, Ground, Trial

REPLICAS = 3


def run(ground: Ground) -> Sequence[Figure]:
    """Stop each replica by SIGTERM and start it anew, round after round."""
    rounds, places, pause = (3, 24, timedelta(seconds=0.1)) if ground.long else (1, 8, timedelta(seconds=0.3))
    figures: list[Figure] = []
    with PostgresServer.made() as server:
        for make in platforms(ground):
            directory = ground.directory / make.__name__
            with make(places) as stage, rig(stage, PostgresDatabase(server), directory, delay_ms=30) as here:
                here.add(REPLICAS)
                codes, longest = [], 0.0
                with talking(stage, ground.rng(stage.name), pause=pause):
                    for number in range(rounds * REPLICAS):
                        replica = here.replicas[number % REPLICAS]
                        began = time.monotonic()
                        codes.append(replica.stop())
                        longest = max(longest, time.monotonic() - began)
                        here.start(replica)
                        ground.progress(number + 1, rounds * REPLICAS)
                account = settled_account(here)
                waits = stage.waits()
                own = [
                    Figure(name="restarts", value=len(codes)),
                    Figure(name="exit codes other than 0", value=sum(map(bool, codes)), at_most=0, of=len(codes)),
                    Figure(name="longest stop", value=round(longest, 1), unit="s", at_most=27),
                    Figure(name="longest wait for the first words", value=round(max(waits), 1), unit="s", at_most=15),
                ]
                figures += named(stage.name, [*account.figures(), *own])
    return figures


TRIAL = Trial(
    number=17,
    name="rolling_restart",
    what="Three replicas are restarted one after the other while people talk.",
    run=run,
)
