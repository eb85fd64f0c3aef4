"""Makes tables of what the PostgreSQL part found."""

import statistics

from bench.postgres import CONTENDERS, MANY, PARLEY, Claims
from bench.postgres_filling import EMPTY, FLOODED, FLOODED_FIRST
from bench.repetitions import Contender
from bench.report import Speed, Table, median, ratio

Verdict = tuple[str, str, bool]


def postgres_table(turns: Speed, workers: int, conversations: int) -> Table:
    """Compare Parley's turns with pgbench's."""
    rows = []
    for contender in CONTENDERS:
        results = turns[contender]
        shares = _shares(turns, contender)
        spread = f" ({min(shares):.2f} to {max(shares):.2f})" if contender is not PARLEY else ""
        rows.append(
            [
                contender.title,
                f"{median(results, lambda r: r.rate):,.0f}",
                f"{ratio(turns, PARLEY, contender):.2f}{spread}",
                f"{median(results, lambda r: r.p50_ms):.1f}",
                f"{median(results, lambda r: r.cpu_us):,.0f}" if contender is PARLEY else "–",
                f"{median(results, lambda r: r.more['server_us']):,.0f}",
                results[0].setup,
            ]
        )
    return Table(
        f"PostgreSQL: {workers} conversations at once over {conversations:,} with 20 messages each, fsync on; "
        f"medians of {len(turns[PARLEY])} interleaved repetitions",
        [
            "client",
            "turns/s",
            "Parley reaches of it",
            "p50 ms",
            "client's CPU µs/turn",
            "server's CPU µs/turn",
            "how it was set",
        ],
        rows,
    )


def postgres_verdict(turns: Speed) -> Verdict:
    """Hold Parley's turns against the engine's own limit, with a connection for each of the conversations at once."""
    share = ratio(turns, PARLEY, MANY)
    return ("on PostgreSQL at least 0.5 of what pgbench reaches with the same calls", f"{share:.2f}", share >= 0.5)


def claims_table(claims: Claims, count: int, waiting: int) -> Table:
    """Compare claims from long queues with those from an empty one."""
    rows = []
    for queue, results in claims.items():
        rows.append(
            [
                queue,
                f"{median(results, lambda r: r.p50_ms):.2f}",
                f"{_cost(claims, queue):.2f}",
                f"{median(results, lambda r: r.p99_ms):.1f}",
            ]
        )
    return Table(
        f"Claims on PostgreSQL, one at a time, of {waiting:,} that wait; medians of {len(claims[EMPTY])} interleaved "
        f"repetitions of {count} claims",
        ["what waits", "p50 ms", "of an empty queue's", "p99 ms"],
        rows,
    )


def claim_verdicts(claims: Claims) -> list[Verdict]:
    """Hold the p50 of a claim from a long queue against that of an empty one."""
    return [
        (
            f"a claim's p50 at most 2 times that of an empty queue: {queue}",
            f"{_cost(claims, queue):.2f}",
            _cost(claims, queue) <= 2,
        )
        for queue in (FLOODED, FLOODED_FIRST)
    ]


def _shares(turns: Speed, contender: Contender) -> list[float]:
    return [ours.rate / other.rate for ours, other in zip(turns[PARLEY], turns[contender], strict=True)]


def _cost(claims: Claims, queue: str) -> float:
    return statistics.median(found.p50_ms / empty.p50_ms for found, empty in zip(claims[queue], claims[EMPTY], strict=True))
