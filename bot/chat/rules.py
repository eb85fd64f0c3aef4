"""The book of rules: all that operators chose, known at every message without a round trip, on every replica.

A choice for a channel goes before one for its workspace, and that before the settings of the environment. A thread follows
the channel around it. Every change stands in the log of governing, by the store's own transaction.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from bot.chat import words_governing as words
from bot.chat.access import Access
from bot.chat.limits import LIMIT_NAMES, LIMITS, limit_of, write_amount
from bot.chat.policy import Rules
from bot.chat.settings_table import CHANNEL, DEFAULT, OFF, SETTINGS, USER, SettingRefused, checked, choices_of, value_of
from bot.chat.workspace_rules import Choice, Defaults, WorkspaceRules, read
from bot.clock import Clock
from store import Limit, Payer, Setting, Spot, Store

__all__ = [
    "DEFAULT",
    "SETTINGS",
    "Defaults",
    "LimitRow",
    "Origin",
    "RuleBook",
    "SettingRefused",
    "choices_of",
    "value_of",
]

WATCH = timedelta(seconds=0.5)
"""How often the store is asked whether another replica changed something: with the reading, a pause holds within 1 s."""
MOST_CHOICES = 10_000
"""Choices of one workspace: each of them is in the memory of every replica."""

log = structlog.get_logger(__name__)


class Origin(StrEnum):
    """Where a value comes from: the place for which it was chosen, or the settings of the environment."""

    CHANNEL = "channel"
    WORKSPACE = "workspace"
    EVERYWHERE = "everywhere"
    """Chosen by a host for all platforms."""
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit as it is listed: its name, for whom it is if for one only ("user:<id>", "channel:<id>"), its amount as it is
    typed, "" for none, and where that comes from."""

    name: str
    subject: str = ""
    amount: str
    origin: Origin


Workspace = tuple[str, str]
"""Platform and workspace; ("", "") stands for everything."""
EVERYTHING: Workspace = ("", "")


class RuleBook:
    """Knows the rules of every place, and changes them.

    Raises (`load`, `reload`, `set`):
        StoreUnavailable: what was known before holds on.
    """

    def __init__(self, store: Store, defaults: Defaults) -> None:
        """`defaults` hold where nothing was chosen."""
        self.defaults = defaults
        self._store = store
        self._platforms: set[str] = set()
        self._choices: dict[Workspace, dict[Choice, str]] = {}
        self._read: dict[Workspace, WorkspaceRules] = {}
        self._unchosen: dict[str, WorkspaceRules] = {}
        self._ignored: set[Setting] = set()
        self._callbacks: list[Callable[[], None]] = []
        self._version: int | None = None
        # What was read before a change must not be entered after it.
        self._one_at_a_time = asyncio.Lock()

    def of(self, platform: str, workspace: str, channel: str) -> Rules:
        """Return what holds in a channel, or in a workspace (channel "")."""
        return self._in(platform, workspace).of(channel)

    def chosen(self, platform: str, workspace: str, channel: str) -> Mapping[str, str]:
        """Return what was chosen for this channel itself, or for the workspace itself (""), by the settings' names."""
        return dict(self._in(platform, workspace).chosen.get(channel, {}))

    def origins(self, platform: str, workspace: str, channel: str) -> Mapping[str, Origin]:
        """Tell of each setting of a place where its value comes from."""
        here = self._in(platform, workspace)
        levels = ((Origin.CHANNEL, here.chosen.get(channel, {}) if channel else {}), (Origin.WORKSPACE, here.chosen[""]))
        return {name: next((origin for origin, at in levels if name in at), Origin.DEFAULT) for name in SETTINGS}

    def choices(self, name: str) -> tuple[str, ...]:
        """List what may be chosen for a setting of a place, as far as it can be listed."""
        return choices_of(name, models=self.defaults.models)

    def access(self, platform: str, workspace: str) -> Access:
        """Return who may speak in a workspace, and where."""
        return self._in(platform, workspace).access

    def operating_groups(self, platform: str, workspace: str) -> frozenset[str]:
        """Return the groups whose members operate a workspace, by their ids."""
        return self._in(platform, workspace).operating_groups

    def limits(self, platform: str, workspace: str, channel: str, user: str) -> tuple[Limit, ...]:
        """Return the limits that apply to a turn of a user in a channel."""
        here, everything = self._in(platform, workspace), self._in(*EVERYTHING)
        subjects = {Payer.USER: USER + user, Payer.CHANNEL: CHANNEL + channel}
        found = []
        for name, (payer, _, _) in LIMITS.items():
            amounts = everything.amounts if payer is Payer.ALL else here.amounts
            amount = amounts.get((name, ""), self.defaults.limits.get(name))
            if payer in subjects:
                amount = amounts.get((name, subjects[payer]), amount)
            if amount is not None:
                found.append(limit_of(name, amount))
        return tuple(found)

    def limit_table(self, platform: str, workspace: str) -> tuple[LimitRow, ...]:
        """List every limit of a workspace, with those of single people and channels behind it."""
        here, everything = self._in(platform, workspace).amounts, self._in(*EVERYTHING).amounts
        rows = []
        for name in LIMIT_NAMES:
            of_all = name in LIMITS and LIMITS[name][0] is Payer.ALL
            amounts, origin = (everything, Origin.EVERYWHERE) if of_all else (here, Origin.WORKSPACE)
            if (name, "") in amounts:
                rows.append(LimitRow(name=name, amount=_written(name, amounts[name, ""]), origin=origin))
            else:
                default = self.defaults.limits.get(name)
                shown = "" if default is None else write_amount(name, default)
                rows.append(LimitRow(name=name, amount=shown, origin=Origin.DEFAULT))
            rows.extend(
                LimitRow(name=name, subject=subject, amount=_written(name, amount), origin=origin)
                for (of, subject), amount in sorted(amounts.items())
                if of == name and subject
            )
        return tuple(rows)

    def paused(self, platform: str, workspace: str, channel: str) -> bool:
        """Tell whether nothing is answered in a channel for now."""
        paused = self._in(platform, workspace).paused
        return "" in paused or channel in paused or "" in self._in(*EVERYTHING).paused

    def ttl_spots(self) -> tuple[tuple[Spot, timedelta | None], ...]:
        """Return the spots for which operators chose how long conversations are kept; None for ever."""
        return tuple(
            (Spot(platform=platform, workspace=workspace, channel=channel), ttl)
            for (platform, workspace), here in self._read.items()
            for channel, ttl in here.ttls().items()
        )

    def choices_in(self, platform: str, workspace: str) -> tuple[Setting, ...]:
        """List all that was chosen for a workspace and what is in it, ordered by name, channel and subject."""
        kept = self._choices.get((platform, workspace), {})
        return tuple(
            Setting(
                platform=platform,
                workspace=workspace,
                channel=choice.channel,
                subject=choice.subject,
                name=choice.name,
                value=value,
            )
            for choice, value in sorted(kept.items(), key=lambda item: (item[0].name, item[0].channel, item[0].subject))
        )

    async def load(self, platform: str) -> None:
        """Read what was chosen on a platform and for everything, in place of what was known of that."""
        async with self._one_at_a_time:
            kept = await self._store.settings(platform)
            known = {of: choices for of, choices in self._choices.items() if of[0] in ("", platform)}
            found = self._sorted(kept)
            self._platforms.add(platform)
            if found == known:
                return
            for workspace in known.keys() | found.keys():
                self._enter(workspace, found.get(workspace, {}))
        self._changed()

    async def reload(self) -> None:
        """Read every platform that was loaded once more: another process may have changed something."""
        for platform in sorted(self._platforms):
            await self.load(platform)

    async def watch(self, clock: Clock) -> None:
        """Follow what other replicas change, for ever. An outermost loop: a failure is logged once, and it goes on."""
        failing = False
        while True:
            await clock.sleep(WATCH)
            try:
                await self._follow()
                failing = False
            except Exception as exc:  # noqa: BLE001 - what stops this would keep a pause from taking effect for good
                if not failing:
                    log.error("rules.not_followed", reason=str(exc), kind=type(exc).__name__)
                failing = True

    async def set(self, setting: Setting, *, author_id: str, action: str, at: datetime) -> str:
        """Choose a value for a setting, for good and at once; `DEFAULT` takes the choice back. Return the value before.

        It is not asked here who may choose: that is the caller's business (`bot.chat.authority`).

        Raises:
            SettingRefused: and nothing changes.
        """
        kept = replace(setting, value=checked(setting, models=self.defaults.models))
        workspace = (kept.platform, kept.workspace)
        choice = Choice(channel=kept.channel, subject=kept.subject, name=kept.name)
        async with self._one_at_a_time:
            choices = dict(self._choices.get(workspace, {}))
            if kept.value and choice not in choices and len(choices) >= MOST_CHOICES:
                raise SettingRefused(words.too_many_choices(MOST_CHOICES))
            before = await self._store.put_setting(kept, author_id=author_id, action=action, at=at)
            choices.pop(choice, None)
            if kept.value:
                choices[choice] = kept.value
            self._enter(workspace, choices)
        log.info("rules.changed", platform=kept.platform, workspace=kept.workspace, channel=kept.channel, setting=kept.name)
        self._changed()
        return before

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after every change that was entered, whoever made it."""
        self._callbacks.append(callback)

    async def _follow(self) -> None:
        version = await self._store.settings_version()
        if version != self._version:
            await self.reload()
            self._version = version

    def _sorted(self, kept: Iterable[Setting]) -> dict[Workspace, dict[Choice, str]]:
        found: dict[Workspace, dict[Choice, str]] = {}
        for setting in kept:
            try:
                value = checked(setting, models=self.defaults.models)
            except SettingRefused:
                if setting not in self._ignored:  # said once, however often it is read
                    self._ignored.add(setting)
                    log.warning(
                        "rules.ignored",
                        setting=setting.name,
                        channel=setting.channel,
                        reason="a newer version wrote it, or its model is not there any more",
                    )
                continue
            choice = Choice(channel=setting.channel, subject=setting.subject, name=setting.name)
            if value:
                found.setdefault((setting.platform, setting.workspace), {})[choice] = value
        return found

    def _enter(self, workspace: Workspace, choices: dict[Choice, str]) -> None:
        if choices:
            self._choices[workspace] = choices
            self._read[workspace] = read(choices, workspace[0], self.defaults)
        else:
            self._choices.pop(workspace, None)
            self._read.pop(workspace, None)

    def _changed(self) -> None:
        for callback in self._callbacks:
            callback()

    def _in(self, platform: str, workspace: str) -> WorkspaceRules:
        if here := self._read.get((platform, workspace)):
            return here
        if platform not in self._unchosen:
            self._unchosen[platform] = read({}, platform, self.defaults)
        return self._unchosen[platform]


def _written(name: str, amount: int | None) -> str:
    return OFF if amount is None else write_amount(name, amount)
