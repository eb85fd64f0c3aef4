"""Parley's own store on PostgreSQL: 64 tasks, each accept and claim, finish, settle; or single claims one by one."""

import asyncio
import time
from datetime import UTC, datetime

from bench.filling import PLATFORM, key_of
from bench.subjects.parley import LEASE, PLATFORMS, Turns
from bench.workload import ANSWER, QUESTION, WINDOW, Job, Result, Timing, chosen, drive, result
from store.postgres import PostgresStore
from store.postgres_pool import CONNECTIONS
from store.postgres_setup import version
from store.process_names import this_process
from store.values import ConversationKey, NewMessage, TurnState


def measure(job: Job) -> Result:
    """Time the turns of `workers` tasks, or with the option `claims` claims alone, on the database at `place`."""
    return asyncio.run(_claims(job) if job.options.get("claims") else _turns(job))


async def _turns(job: Job) -> Result:
    store = await PostgresStore.open(job.place)
    try:
        turns = Turns(store, {number: key_of(number) for number in chosen(job)})
        timing = await drive(turns.take, job, warmed=turns.forget)
        timing.latencies = turns.latencies
    finally:
        await store.aclose()
    return result(timing, hops=0, commits=3, setup=f"{CONNECTIONS} connections, as shipped")


async def _claims(job: Job) -> Result:
    store = await PostgresStore.open(job.place)
    latencies = []
    cpu, start = time.process_time(), time.perf_counter()
    try:
        for number in range(job.turns):
            name = f"{job.seed}-{number}"
            key = ConversationKey(platform=PLATFORM, workspace="T2", channel=name)
            await store.accept(
                NewMessage(
                    key=key,
                    event_id=name,
                    message_id=name,
                    position=None,
                    author_id="U1",
                    author_name="Mina",
                    text=QUESTION,
                    address="address",
                    at=datetime.now(UTC),
                )
            )
            before = time.perf_counter()
            claim = await store.claim(lease=LEASE, window=WINDOW, platforms=PLATFORMS)
            latencies.append(time.perf_counter() - before)
            assert claim is not None
            await store.settle(claim.hold, TurnState.DONE)
    finally:
        await store.aclose()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return result(Timing(turns=job.turns, seconds=seconds, cpu=cpu, latencies=latencies))


def pgbench_script() -> str:
    """Write a turn as pgbench does it: the same calls with the same arguments, each client in its own conversations."""
    v, question, answer = version(), _quoted(QUESTION), _quoted(ANSWER)
    lease = LEASE.total_seconds() * 1e6
    return f"""\
\\set n random(1, 1000000000000000)
\\set i :client_id + :clients * random(0, :of_each - 1)
SELECT * FROM parley_accept_{v}('e' || :n::text, 'm' || :n::text, '{PLATFORM}', 'W', 'C' || lpad(:i::text, 7, '0'), '', '',
  'm' || :n::text, NULL, 'UC' || lpad(:i::text, 7, '0'), 'Mina 민아', {question}, 'address', {time.time_ns() // 1000},
  0, NULL, NULL, 0, NULL, false, NULL, {lease:.0f}, {WINDOW}, NULL, '{this_process()}') \\gset
SELECT * FROM parley_finish_{v}(:turn_id, :conversation_id, :epoch, {answer}, 0, 'complete', 'model', 100, 100, '',
  'UC' || lpad(:i::text, 7, '0'), 100, 100, 0) \\gset f_
SELECT * FROM parley_settle_{v}(:turn_id, :conversation_id, :epoch, 'done') \\gset s_
"""


def _quoted(text: str) -> str:
    # A colon before a letter would be one of pgbench's variables.
    return "'" + text.replace("'", "''").replace(":", "∶") + "'"
