"""Operators' commands on what goes on: the state of things, what was used, what was done, the sweep, the doctor.

Each works on the workspace where it is typed and on nothing else, except for what only hosts may do. Each is written down
before it shows or does anything.
"""

import csv
import io
from collections.abc import Collection, Mapping
from datetime import timedelta

from bot.chat import words_commands as say
from bot.chat.authority import Rank
from bot.chat.commands_layout import columns, counted, excerpt, facts, rough, stamp
from bot.chat.commands_paging import PAGE_OPTION, needed_for, page_of
from bot.chat.commands_parts import Parts
from bot.chat.money import format_money
from bot.chat.options import Option, OptionKind
from bot.chat.protocol import CommandCall, CommandReply, ReplyFile
from bot.findings import Verdict
from store import (
    AUDIT_PAGE,
    PAUSED,
    USAGE_DAYS,
    AuditEntry,
    Days,
    UsageBy,
    UsageRow,
)

Given = Mapping[str, str]

USAGE_SHOWN = 30
USAGE_WRITTEN = 10_000
"""Rows of a table, and of a CSV file."""
USAGE_DEFAULT = 7
"""Days of usage that are summed up if nobody says how many."""
CSV = "csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would carry out as a formula."""
MARKS = {Verdict.GOOD: "good", Verdict.NOTE: "note", Verdict.BAD: "BAD"}


USAGE_OPTIONS = (
    Option(
        name="by",
        summary="how it is summed up",
        kind=OptionKind.CHOICE,
        choices=tuple(by.value for by in UsageBy),
        default=UsageBy.USER.value,
    ),
    Option(
        name="days",
        summary=f"how many, today among them; {USAGE_DEFAULT} if you don't say",
        kind=OptionKind.INTEGER,
        minimum=1,
        maximum=USAGE_DAYS,
        default=str(USAGE_DEFAULT),
    ),
    Option(name="form", summary="csv is a file for spreadsheets", kind=OptionKind.CHOICE, choices=(CSV,)),
)
AUDIT_OPTIONS = (PAGE_OPTION,)


async def status(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show how things are: to hosts of the whole installation, to others as far as it concerns their workspace."""
    del given
    await parts.note(call)
    where, now = call.address, parts.clock.now()
    store = await parts.store.status()
    here = await parts.store.running_in(where.platform, [where.workspace])
    rows = [("version", f"{parts.version}, up for {rough(now - parts.began)}")]
    if parts.authority.rank(call.caller) is Rank.HOST:
        waits = "" if store.oldest_queued_at is None else f", the oldest for {rough(now - store.oldest_queued_at)}"
        rows += _lines("platforms", parts.platforms())
        rows.append(("replicas", f"{parts.turns.running} of {counted(store.running, 'running turn')} in this one"))
        rows.append(("queue", f"{store.running} running, {store.queued} waiting{waits}"))
        rows += _lines("models", parts.models())
        rows.append(("store", f"{store.place} ({store.engine})"))
    else:
        rows += _lines("models", parts.models())
    rows.append(("workspace", f"{counted(here, 'turn')} running here, {_paused(parts, call)}"))
    rows.append(("kept", say.kept_for(parts.rules.of(where.platform, where.workspace, "").ttl)))
    return facts(rows)


def _lines(name: str, lines: Collection[str]) -> list[tuple[str, str]]:
    return [("" if number else name, line) for number, line in enumerate(lines)]


def _paused(parts: Parts, call: CommandCall) -> str:
    where = call.address
    chosen = parts.rules.choices_in(where.platform, where.workspace)
    spots = [setting.channel for setting in chosen if setting.name == PAUSED]
    if any(setting.name == PAUSED for setting in parts.rules.choices_in("", "")):
        return "everything is paused"
    if "" in spots:
        return "the workspace is paused"
    return f"paused in {excerpt(', '.join(spots))}" if spots else "nothing is paused"


async def usage(parts: Parts, call: CommandCall, given: Given) -> str | CommandReply:
    """Sum up what was used in the workspace, as a table or as a file."""
    by, days_shown, today = UsageBy(given["by"]), int(given["days"]), call.at.date()
    days = Days(first=today - timedelta(days=days_shown - 1), last=today)
    as_file = given.get("form") == CSV
    await parts.note(call, target=f"{by.value} {days_shown}")
    rows = await parts.store.usage(
        call.address.platform,
        call.address.workspace,
        by=by,
        days=days,
        limit=USAGE_WRITTEN if as_file else USAGE_SHOWN + 1,
    )
    if not rows:
        return say.NO_USAGE
    if as_file:
        text = f"{counted(len(rows), 'row')} from {days.first} to {days.last}."
        return CommandReply(text=text, files=(ReplyFile(name="usage.csv", data=_csv(by, rows)),))
    table = [
        (
            row.heading,
            f"{row.turns:,}",
            f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}",
            format_money(row.money),
        )
        for row in rows[:USAGE_SHOWN]
    ]
    shown = columns((by.value, "turns", "prompt tokens", "answer tokens", "cost"), table)
    if len(rows) <= USAGE_SHOWN:
        return shown
    return f"{shown}\n{say.more_pages(f'usage {by.value} {days_shown} {CSV}')}"


def _csv(by: UsageBy, rows: Collection[UsageRow]) -> bytes:
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow((by.value, "turns", "prompt_tokens", "completion_tokens", "money"))
    for row in rows:
        heading = f"'{row.heading}" if row.heading.startswith(FORMULA) else row.heading
        table.writerow((heading, row.turns, row.prompt_tokens, row.completion_tokens, format_money(row.money)))
    return written.getvalue().encode()


async def sweep(parts: Parts, call: CommandCall, given: Given) -> str:
    """Expire and purge what is due now, in the whole installation."""
    del given
    await parts.note(call)
    swept = await parts.sweeper.sweep()
    return (
        f"Swept: {swept.expired} conversations expired, {swept.purged} rows purged; dropped {swept.events} event ids, "
        f"{swept.audit} audit entries, {swept.usage} accounts."
    )


async def audit(parts: Parts, call: CommandCall, given: Given) -> str:
    """List what was done and tried in the name of governing."""
    page = int(given["page"])
    await parts.note(call, target=f"page {page}")
    entries: list[AuditEntry] = []
    while len(entries) < needed_for(page):
        found = await parts.store.audit_log(
            call.address.platform,
            call.address.workspace,
            limit=AUDIT_PAGE,
            before=entries[-1].id if entries else None,
            everything=parts.authority.rank(call.caller) is Rank.HOST,
        )
        entries += found
        if len(found) < AUDIT_PAGE:
            break
    shown, more = page_of(entries, page)
    if not shown:
        return say.NO_ENTRIES
    header = ("when", "who", "where", "action", "target", "from", "to", "outcome")
    listed = columns(header, [_entry(entry) for entry in shown])
    return f"{listed}\n{say.more_pages(f'audit {page + 1}')}" if more else listed


def _entry(entry: AuditEntry) -> tuple[str, ...]:
    return (
        stamp(entry.at),
        entry.author_id or "-",
        entry.channel or "-",
        entry.action,
        excerpt(entry.target, 60) or "-",
        excerpt(entry.before, 40) or "-",
        excerpt(entry.after, 40) or "-",
        "done" if entry.allowed else "refused",
    )


async def doctor(parts: Parts, call: CommandCall, given: Given) -> str:
    """Look at everything that the installation stands on."""
    del given
    await parts.note(call)
    return columns(
        ("", "what", "how it is"),
        [(MARKS[finding.verdict], finding.what, finding.text) for finding in await parts.examine()],
    )
