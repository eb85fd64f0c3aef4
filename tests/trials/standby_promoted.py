"""A database whose server is lost for good while people talk: its standby knows all that was acknowledged, and goes on."""

import time
from collections.abc import Sequence
from datetime import timedelta

from tests.engines.postgres import PostgresServer, Shutdown
from tests.trials.auditing import Account, named, settled_account
from tests.trials.engines import PostgresDatabase
from tests.trials.platforms import platforms
from tests.trials.rigs import AGAIN, rig
from tests.trials.talking import talking
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

REPLICAS = 3


def run(ground: Ground) -> Sequence[Figure]:
    """Kill the primary, promote the standby, and see how long it takes until everything works again."""
    rounds, places, pause = (5, 24, timedelta(seconds=0.1)) if ground.long else (1, 8, timedelta(seconds=0.2))
    figures: list[Figure] = []
    for make in platforms(ground):
        account, longest, open_ones = Account(), 0.0, 0
        for number in range(rounds):
            directory = ground.directory / f"{make.__name__}{number}"
            with PostgresServer.made() as primary, primary.standby() as standby, make(places) as stage:
                kept, hosts = PostgresDatabase(primary), f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
                with rig(stage, kept, directory, delay_ms=20) as here:
                    here.env["DATABASE_URL"] = f"postgresql://parley@{hosts}/{kept.database}?target_session_attrs=read-write"
                    here.add(REPLICAS)
                    rng = ground.rng(stage.name, number)
                    with talking(stage, rng, pause=pause):
                        wait_for(lambda: len(here.logged("turn.finished")) > places)
                        time.sleep(rng.uniform(0, 1))
                        primary.stop(Shutdown.IMMEDIATE)
                        standby.promote()
                        kept.server = standby
                        open_ones += len(here.ledger.open)
                        longest = max(longest, here.works_again())
                    account += settled_account(here)
            ground.progress(number + 1, rounds)
        gate = AGAIN.total_seconds() * (1 if ground.long else 3)
        own = [
            Figure(name="promotions", value=rounds),
            Figure(name="turns under way at the promotion", value=open_ones),
            Figure(name="longest time until it works again", value=longest, unit="s", at_most=gate),
        ]
        figures += named(make.name, [*account.figures(), *own])
    return figures


TRIAL = Trial(
    number=19,
    name="standby_promoted",
    what="PostgreSQL is lost while people talk, and its synchronous standby is promoted.",
    run=run,
)
