"""The words of governing: what operators decide, what was done in their name, and what people may spend and have spent."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What operators chose, by name, for as much as the parts that are given: a channel, a workspace, or everything ("").

    `subject` is whom or what the choice concerns beside the place, such as "user:U1", "group:5" or "category:7"; "" for
    the place itself. What a name and a value mean is the chat's business, except for `PAUSED` and `WORKSPACE_RUNNING`,
    which every claim obeys.
    """

    platform: str = ""
    workspace: str = ""
    channel: str = ""
    subject: str = ""
    name: str
    value: str


PAUSED = "paused"
"""The name of the setting that keeps turns from being claimed, with the value `ON`: in a channel with its threads, in a
workspace (channel ""), on a platform's direct messages (Discord's have workspace ""), or everywhere (platform "")."""
ON = "on"
WORKSPACE_RUNNING = "workspace-running"
"""The name of the setting that says how many turns of a workspace run at once, on all replicas: a decimal number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Something that was done, or tried, in the name of governing. `id` is 0 until it is kept.

    `action` is a command's or a button's name, `target` what it was about; `before` and `after` are a setting's values.
    `allowed` False: it was refused, and nothing came of it. No message's text stands in any of these.
    """

    platform: str
    workspace: str
    channel: str
    author_id: str
    action: str
    target: str = ""
    before: str = ""
    after: str = ""
    allowed: bool = True
    at: datetime
    id: int = 0


class Payer(StrEnum):
    """Whose account something is on. Each turn is on all four: its author's, its channel's, its workspace's, everybody's.

    A user's and a channel's account are within their workspace.
    """

    USER = "user"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    ALL = "all"


class Unit(StrEnum):
    """What is counted. Tokens are prompt and answer together; money is in millionths of the currency of the prices."""

    TURNS = "turns"
    TOKENS = "tokens"
    MONEY = "money"


class Period(StrEnum):
    """How long a count lasts: a minute or a day of the clock, in UTC."""

    MINUTE = "minute"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much a payer may spend of a unit in a period. The amount itself may be reached, not passed."""

    payer: Payer
    unit: Unit
    period: Period
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a turn may cost in the worst case, all its calls of the model so far and the next one together.

    `author_id` is who pays: the author of the last message that it answers.
    """

    author_id: str
    tokens: int
    money: int
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to an order. `refused` is the limit that stands against it, None when it was granted; `until` is when that
    limit's period ends. `told`: an order of the same payer was refused by the same limit in this period before.
    `near` are the limits of which this order, as the first in their period, reaches `NEARLY`.
    """

    refused: Limit | None = None
    until: datetime | None = None
    told: bool = False
    near: tuple[Limit, ...] = ()


NEARLY = 0.8
"""The part of a limit at which its payer is warned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a turn's calls of the model have cost in truth, so far as that is known."""

    author_id: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What a payer has spent in the present period, with what is reserved for turns under way."""

    payer: Payer
    period: Period
    turns: int
    tokens: int
    money: int


class UsageBy(StrEnum):
    """How usage is summed up."""

    USER = "user"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What was used under one heading: a user's, a channel's or a workspace's id, or a day such as 2026-11-21."""

    heading: str
    turns: int
    prompt_tokens: int
    completion_tokens: int
    money: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """A span of days in UTC, both ends included."""

    first: date
    last: date


USAGE_DAYS = 400
"""Days for which usage is kept: a year, and the month to compare it with."""
AUDIT_PAGE = 100
"""Entries of the audit log that are listed at once."""
