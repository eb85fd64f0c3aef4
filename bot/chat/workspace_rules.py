"""What operators chose for one workspace, read into the rules that hold there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from bot.chat.access import Access
from bot.chat.policy import Placement, Rules
from bot.chat.settings_table import (
    ACCESS,
    ALLOW,
    CATEGORY,
    GROUP,
    LIMIT,
    OPERATOR,
    SETTINGS,
    USER,
    amount_of,
    meaning_of,
)
from store import PAUSED, WORKSPACE_RUNNING

PLACEMENTS: Mapping[str, Placement] = {"slack": Placement.THREAD}
"""Where a platform answers when nothing was chosen, unless it is where others do: Slack talks in threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds where operators chose nothing: the settings of the environment.

    `models` are the names of those that may be chosen, the first is asked when none was. `limits` are amounts as
    `bot.chat.limits.parse_amount` gives them, by the names of limits. `admit` are the kinds of people who are taken beside
    members (`guests`, `external`), `direct` says whether direct messages are.
    """

    rules: Rules = field(default_factory=Rules)
    placements: Mapping[str, Placement] = field(default_factory=lambda: PLACEMENTS)
    models: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    admit: frozenset[str] = frozenset()
    direct: bool = True

    def on(self, platform: str) -> Rules:
        """Return what holds on a platform."""
        first = self.models[0] if self.models else self.rules.model
        return replace(self.rules, placement=self.placements.get(platform, self.rules.placement), model=first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a choice was made for within its workspace: a channel ("" for all), a subject ("" for the place), a setting."""

    channel: str
    subject: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRules:
    """What holds in one workspace. `places` and `chosen` are by channel, "" is the workspace itself, which is always there.

    `amounts` are limits by name and subject, None for one that was lifted; `paused` names channels, "" for all of them.
    """

    places: Mapping[str, Rules]
    chosen: Mapping[str, Mapping[str, str]]
    access: Access
    operating_groups: frozenset[str]
    amounts: Mapping[tuple[str, str], int | None]
    paused: frozenset[str]

    def of(self, channel: str) -> Rules:
        """Return what holds in a channel."""
        return self.places.get(channel) or self.places[""]

    def ttls(self) -> dict[str, timedelta | None]:
        """Return how long conversations are kept where that was chosen, by channel."""
        return {channel: self.places[channel].ttl for channel, chosen in self.chosen.items() if "ttl" in chosen}


def read(choices: Mapping[Choice, str], platform: str, defaults: Defaults) -> WorkspaceRules:
    """Read the choices of one workspace of a platform; their values were checked (`bot.chat.settings_table.checked`)."""
    chosen: dict[str, dict[str, str]] = {"": {}}
    amounts: dict[tuple[str, str], int | None] = {}
    for choice, value in choices.items():
        if choice.name in SETTINGS:
            chosen.setdefault(choice.channel, {})[choice.name] = value
        elif choice.name.startswith(LIMIT) or choice.name == WORKSPACE_RUNNING:
            name = choice.name.removeprefix(LIMIT)
            amounts[name, choice.subject] = amount_of(name, value)
    everywhere = _with(defaults.on(platform), chosen[""])
    return WorkspaceRules(
        places={channel: _with(everywhere, of_channel) for channel, of_channel in chosen.items()},
        chosen=chosen,
        access=_access(choices, defaults),
        operating_groups=frozenset(choice.subject.removeprefix(GROUP) for choice in choices if choice.name == OPERATOR),
        amounts=amounts,
        paused=frozenset(choice.channel for choice in choices if choice.name == PAUSED),
    )


def _with(rules: Rules, chosen: Mapping[str, str]) -> Rules:
    fields: dict[str, Any] = {name: meaning_of(name, value) for name, value in chosen.items()}
    return replace(rules, **fields) if fields else rules


def _access(choices: Mapping[Choice, str], defaults: Defaults) -> Access:
    ruled = {choice: value == ALLOW for choice, value in choices.items() if choice.name == ACCESS}

    def named(kind: str) -> dict[str, bool]:
        return {
            choice.subject.removeprefix(kind): allowed
            for choice, allowed in ruled.items()
            if choice.subject.startswith(kind)
        }

    kinds = {choice.subject: allowed for choice, allowed in ruled.items()}
    return Access(
        users=named(USER),
        groups=named(GROUP),
        categories=named(CATEGORY),
        channels={choice.channel: allowed for choice, allowed in ruled.items() if choice.channel},
        guests=kinds.get("guests", "guests" in defaults.admit),
        external=kinds.get("external", "external" in defaults.admit),
        people=kinds.get("people", True),
        direct=kinds.get("direct", defaults.direct),
        everywhere=kinds.get("channels", True),
    )
