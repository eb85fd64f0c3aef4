"""Makes tables of the results, for the terminal and as Markdown."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable

from bench.repetitions import LIMIT, PARLEY, Contender
from bench.workload import Result


@dataclass
class Table:
    """Rows of text under a title."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass
class Report:
    """All that one run found."""

    machine: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[tuple[str, str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


Speed = dict[Contender, list[Result]]


def speed_table(subjects: list[Contender], speed: Speed, workers: int, conversations: int) -> Table:
    """Compare the stores."""
    rows = []
    for subject in subjects:
        results = speed[subject]
        hops, commits = results[0].hops, results[0].commits
        rows.append(
            [
                subject.title,
                f"{median(results, lambda r: r.rate):,.0f}",
                f"{ratio(speed, subject, LIMIT):.2f}",
                f"{ratio(speed, PARLEY, subject):.1f}",
                f"{median(results, lambda r: r.p50_ms):.1f}",
                f"{median(results, lambda r: r.p99_ms):.1f}",
                f"{median(results, lambda r: r.cpu_us):,.0f}",
                "–" if hops is None else f"{median(results, lambda r: r.hops or 0):.2f}",
                "–" if commits is None else f"{median(results, lambda r: r.commits or 0):.2f}",
                results[0].setup,
            ]
        )
    repetitions = len(speed[LIMIT])
    return Table(
        f"Speed: {workers} conversations at once over {conversations:,} with 20 messages each, synchronous=FULL; "
        f"medians of {repetitions} interleaved repetitions",
        [
            "store",
            "turns/s",
            "of the limit",
            "Parley is faster by",
            "p50 ms",
            "p99 ms",
            "CPU µs/turn",
            "thread hops/turn",
            "commits/turn",
            "how it was set",
        ],
        rows,
    )


def verdicts(subjects: list[Contender], speed: Speed) -> list[tuple[str, str, bool]]:
    """Hold the speed against what was asked for."""
    share = ratio(speed, PARLEY, LIMIT)
    found = [("at least 0.5 of the limit", f"{share:.2f}", share >= 0.5)]
    for subject in subjects:
        if subject.peer:
            times = ratio(speed, PARLEY, subject)
            found.append((f"at least 10 times {subject.title}", f"{times:.1f}", times >= 10))
    return found


def growth_table(growth: tuple[list[Result], list[Result]], small: int, large: int, report: Report) -> Table:
    """Compare a turn in a small store with one in a large store."""
    cost = statistics.median(few.rate / many.rate for few, many in zip(*growth, strict=True))
    report.verdicts.append(
        (f"a turn at {large:,} messages costs at most 2 times one at {small:,}", f"{cost:.2f}", cost <= 2)
    )
    rows = [
        [
            f"{messages:,}",
            f"{median(results, lambda r: r.rate):,.0f}",
            f"{median(results, lambda r: 1e6 / r.rate):,.0f}",
            ratio,
            f"{median(results, lambda r: r.p50_ms):.1f}",
            f"{median(results, lambda r: r.p99_ms):.1f}",
            f"{median(results, lambda r: r.cpu_us):,.0f}",
        ]
        for messages, results, ratio in ((small, growth[0], "1"), (large, growth[1], f"{cost:.2f}"))
    ]
    return Table(
        f"Growth: the same 64 workers, over at most 1,000 conversations chosen at random; "
        f"medians of {len(growth[0])} interleaved repetitions",
        ["messages stored", "turns/s", "µs/turn", "cost", "p50 ms", "p99 ms", "CPU µs/turn"],
        rows,
    )


def expiry_table(expiry: Result, report: Report) -> Table:
    """Tell how long a turn stood still while the stale half went."""
    more = expiry.more
    longest = max(more["expire_longest_ms"], more["purge_longest_ms"])
    what = f"expiring {more['expired']:,.0f} conversations stalls no turn for more than 50 ms"
    report.verdicts.append((what, f"{longest:.0f} ms", longest <= 50))
    return Table(
        "Expiry: 8 paced writers while stale conversations of 20 messages and 10 turns each are expired, then purged",
        [
            "conversations expired",
            "rows purged",
            "seconds",
            "longest turn without, ms",
            "longest turn while expiring, ms",
            "longest turn while purging, ms",
            "p99 while purging, ms",
        ],
        [
            [
                f"{more['expired']:,.0f}",
                f"{more['purged']:,.0f}",
                f"{more['expire_seconds']:.1f} + {more['purge_seconds']:.1f}",
                f"{more['quiet_longest_ms']:.0f}",
                f"{more['expire_longest_ms']:.0f}",
                f"{more['purge_longest_ms']:.0f}",
                f"{more['purge_p99_ms']:.0f}",
            ]
        ],
    )


def show(report: Report, console: Console) -> None:
    """Print the report."""
    console.print(report.machine)
    for table in report.tables:
        rich = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            rich.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
        for row in table.rows:
            rich.add_row(*(cell.replace("**", "") for cell in row))
        console.print(rich)
    for what, found, met in report.verdicts:
        console.print(f"{'met    ' if met else 'NOT met'}  {_plain(what)}: {found}", highlight=False)
    for note in report.notes:
        console.print(note)
    console.print(f"{report.seconds:.0f} s")


def markdown(report: Report) -> str:
    """Write the report as Markdown."""
    lines = [report.machine + ".", ""]
    for table in report.tables:
        lines += [f"**{table.title}**", "", _line(table.columns), _line(["---"] * len(table.columns))]
        lines += [_line(row) for row in table.rows]
        lines.append("")
    lines += [f"- {'met' if met else '**not met**'}: {_plain(what)}: {found}" for what, found, met in report.verdicts]
    return "\n".join([*lines, "", *report.notes]).rstrip() + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return text.replace("**", "")


def median(results: list[Result], value: Callable[[Result], float]) -> float:
    """Take the median of a figure over the repetitions."""
    return statistics.median(value(result) for result in results)


def ratio(speed: Speed, one: Contender, other: Contender) -> float:
    """Compare within each repetition, where the machine was the same, and take the median."""
    return statistics.median(a.rate / b.rate for a, b in zip(speed[one], speed[other], strict=True))
