"""The PostgreSQL part: Parley's turns beside pgbench with the same calls, and claims from a long queue beside an empty one.

All of it in one run on one server that syncs to the disk, in turns. pgbench is the engine's own client, in C: what it
reaches with a number of connections is what the server gives to them.
"""

import os
import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from rich.progress import Progress

from bench.postgres_filling import QUEUES, fill, fill_queue, make
from bench.repetitions import Contender, measured
from bench.subjects.postgres import pgbench_script
from bench.workload import Job, Result
from store.postgres_pool import CONNECTIONS
from tests.engines.postgres import PostgresServer

PARLEY = Contender("**Parley on PostgreSQL**: accept and claim, finish, settle", "postgres")
SAME = Contender(f"pgbench, the same calls, {CONNECTIONS} connections as Parley has (the limit)", "pgbench")
MANY = Contender("pgbench, the same calls, a connection for each conversation", "pgbench", option="many")
CONTENDERS = (PARLEY, SAME, MANY)

WARMING = 2
"""Seconds of pgbench that do not count: a new connection plans and compiles, and ours are warm when the clock starts."""

Claims = dict[str, list[Result]]
"""What was found of each queue, by its title; the first one is the empty one."""


@contextmanager
def a_server() -> Iterator[PostgresServer]:
    """Make a server as it is delivered, so with `fsync`, with an empty store in the database of its own name."""
    with PostgresServer.made(options={"max_connections": "150"}) as server:
        make(server.url())
        yield server


def run_postgres(
    server: PostgresServer, progress: Progress, *, repetitions: int, seconds: float, conversations: int, workers: int
) -> dict[Contender, list[Result]]:
    """Time every contender `repetitions` times, in turns, each on a fresh copy of one database."""
    task = progress.add_task("filling PostgreSQL", total=repetitions * len(CONTENDERS) + 1)
    filled = server.database(like=server.url())
    fill(filled, conversations)
    progress.advance(task)
    results: dict[Contender, list[Result]] = {contender: [] for contender in CONTENDERS}
    for repetition in range(repetitions):
        # Whoever is first in one repetition is last in another.
        start = repetition % len(CONTENDERS)
        for contender in (*CONTENDERS[start:], *CONTENDERS[:start]):
            progress.update(task, description=f"PostgreSQL: {contender.subject}")
            url = server.database(like=filled)
            server.execute("CHECKPOINT")
            before = _server_cpu(server)
            if contender is PARLEY:
                job = Job(
                    subject="postgres",
                    action="measure",
                    place=url,
                    conversations=conversations,
                    workers=workers,
                    seconds=seconds,
                    seed=repetition,
                )
                found = measured(job)
            else:
                found = _pgbench(server, url, workers if contender is MANY else CONNECTIONS, seconds, conversations)
            untimed = Job.warmup if contender is PARLEY else 0
            found.more["server_us"] = (_server_cpu(server) - before) / (found.turns + untimed) * 1e6
            results[contender].append(found)
            _drop(server, url)
            progress.advance(task)
    progress.update(task, description="PostgreSQL")
    return results


def run_claims(server: PostgresServer, progress: Progress, *, repetitions: int, turns: int, waiting: int) -> Claims:
    """Time single claims from each queue, `repetitions` times in turns; `waiting` is what a long queue holds."""
    task = progress.add_task("filling queues", total=len(QUEUES) * (repetitions + 1))
    urls = {}
    for queue in QUEUES:
        urls[queue] = server.database(like=server.url())
        fill_queue(urls[queue], queue, waiting)
        progress.advance(task)
    results: Claims = {queue: [] for queue in QUEUES}
    for repetition in range(repetitions):
        for queue, url in urls.items():
            progress.update(task, description=f"claims: {queue}")
            job = Job(
                subject="postgres",
                action="measure",
                place=url,
                conversations=1,
                workers=1,
                warmup=0,
                turns=turns,
                seed=repetition,
                options={"claims": 1},
            )
            results[queue].append(measured(job))
            progress.advance(task)
    progress.update(task, description="claims")
    return results


def _pgbench(server: PostgresServer, url: str, clients: int, seconds: float, conversations: int) -> Result:
    script = server.home / "turn.sql"
    script.write_text(pgbench_script(), encoding="utf-8")
    script.chmod(0o644)  # the server's user runs it
    of_each = max(1, conversations // clients)
    said = server.run(
        "pgbench",
        *("--no-vacuum", "--protocol=extended", f"--client={clients}", "--jobs=2", "--progress=1"),
        f"--time={WARMING + max(1, round(seconds))}",
        *(f"--define=clients={clients}", f"--define=of_each={of_each}", f"--file={script}"),
        *("--host=127.0.0.1", f"--port={server.port}", "--username=parley", url.rpartition("/")[2]),
    )
    failed = re.search(r"failed transactions: (\d+)", said)
    if failed is None or failed[1] != "0":
        raise SystemExit(f"pgbench failed:\n{said[-2000:]}")
    each_second = re.findall(r"progress: [\d.]+ s, ([\d.]+) tps, lat ([\d.]+) ms", said)[WARMING:]
    return Result(
        turns=int(_number(r"transactions actually processed: (\d+)", said)),
        rate=statistics.fmean(float(rate) for rate, _ in each_second),
        p50_ms=statistics.median(float(latency) for _, latency in each_second),  # of means: it tells no quantile
        p99_ms=0.0,
        longest_ms=0.0,
        cpu_us=0.0,
        setup=f"{clients} connections, --protocol=extended",
    )


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"pgbench said nothing of {pattern}:\n{text[-2000:]}")
    return found[1]


def _drop(server: PostgresServer, url: str) -> None:
    server.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')


def _server_cpu(server: PostgresServer) -> float:
    """Read the processor time of the server: its own, of the processes that have ended, and of those that run."""
    pid = int(Path(server.data, "postmaster.pid").read_text(encoding="utf-8").split()[0])
    own = _times(pid)
    running = (_times(int(child)) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return (sum(own) + sum(sum(times[:2]) for times in running)) / os.sysconf("SC_CLK_TCK")


def _times(pid: int) -> tuple[int, int, int, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return (0, 0, 0, 0)
    user, system, children_user, children_system = map(int, fields[11:15])
    return (user, system, children_user, children_system)


def version_of(server: PostgresServer) -> str:
    """Name the server's version."""
    with psycopg.connect(server.url()) as connection:
        return f"PostgreSQL {connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"
