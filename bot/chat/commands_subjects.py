"""Whom or what an operator means: people, roles and groups, channels, as platforms write mentions of them. Pure.

Discord writes `<@1>`, `<@!1>`, `<@&1>`, `<#1>`, Slack `<@U1|name>`, `<!subteam^S1|@name>`, `<#C1|name>`. An id of Slack's
says by its first letter what it is; Discord's are plain numbers, so there a bare one is nobody until it is said what it is.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from bot.chat.settings_table import KINDS
from store.values import KEY_PART_LENGTH


class SubjectKind(StrEnum):
    """What somebody means."""

    USER = "user"
    GROUP = "group"
    CHANNEL = "channel"
    CATEGORY = "category"
    KIND = "kind"
    """One of the kinds of people and places that access knows: guests, direct messages and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody or something, by its id; a KIND by its name."""

    kind: SubjectKind
    id: str

    def __str__(self) -> str:
        """Write it as it can be typed again."""
        return self.id if self.kind is SubjectKind.KIND else f"{self.kind.value}:{self.id}"


_MENTIONS = (
    (re.compile(r"<@&([0-9]+)>", re.ASCII), SubjectKind.GROUP),
    (re.compile(r"<!subteam\^(\w+)(?:\|[^>]*)?>", re.ASCII), SubjectKind.GROUP),
    (re.compile(r"<@!?(\w+)(?:\|[^>]*)?>", re.ASCII), SubjectKind.USER),
    (re.compile(r"<#(\w+)(?:\|[^>]*)?>", re.ASCII), SubjectKind.CHANNEL),
)
_SPELT = re.compile(r"(user|group|channel|category):([\w-]+)", re.ASCII)
_SLACK_ID = re.compile(r"([UWSCGD])[A-Z0-9]{5,}", re.ASCII)
_SLACK_KINDS = {
    "U": SubjectKind.USER,
    "W": SubjectKind.USER,
    "S": SubjectKind.GROUP,
    "C": SubjectKind.CHANNEL,
    "G": SubjectKind.CHANNEL,
    "D": SubjectKind.CHANNEL,
}


def subject_of(typed: str) -> Subject | None:
    """Read a mention, an id that says what it is, or the name of a kind; None for anything else."""
    typed = typed.strip()
    if len(typed) > 2 * KEY_PART_LENGTH:
        return None
    if typed.lower() in KINDS:
        return Subject(kind=SubjectKind.KIND, id=typed.lower())
    for pattern, kind in _MENTIONS:
        if found := pattern.fullmatch(typed):
            return _within_length(kind, found[1])
    if spelt := _SPELT.fullmatch(typed):
        return _within_length(SubjectKind(spelt[1]), spelt[2])
    if slack := _SLACK_ID.fullmatch(typed):
        return _within_length(_SLACK_KINDS[slack[1]], typed)
    return None


def _within_length(kind: SubjectKind, found: str) -> Subject | None:
    return Subject(kind=kind, id=found) if len(found) <= KEY_PART_LENGTH else None
