"""The book of channel settings: what operators chose for single channels, known at every message without a round trip.

A thread follows the channel around it: settings are kept by channel.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from bot.chat import words
from bot.chat.policy import BOT_TURNS, Placement, Rules, Scope, Trigger
from store import ChannelSetting, Store

DEFAULT = "default"
"""Chosen for a setting, it takes the channel's own choice back."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting that a channel may have; `choices` are what may be said for it, and what that means in `Rules`."""

    summary: str
    choices: Mapping[str, object]


SETTINGS: dict[str, Setting] = {
    "trigger": Setting(summary="what I answer here", choices={chosen.value: chosen for chosen in Trigger}),
    "scope": Setting(summary="whose a conversation is", choices={chosen.value: chosen for chosen in Scope}),
    "placement": Setting(summary="where I answer", choices={chosen.value: chosen for chosen in Placement}),
    "bots": Setting(summary=f"whether I answer other bots, {BOT_TURNS} times in a row", choices={"on": True, "off": False}),
}
"""Every setting by its name, which is that of its field in `Rules`."""

PLATFORM_RULES: Mapping[str, Rules] = {"slack": Rules(placement=Placement.THREAD)}
"""What holds on a platform where nothing was chosen, unless it is what holds elsewhere: Slack talks in threads."""


class SettingRefused(ValueError):
    """There is no such setting or no such value; the message says what there is, for people."""


Channel = tuple[str, str, str]
"""Platform, workspace and channel."""


class RuleBook:
    """Knows the rules of every channel, and changes them.

    Raises (`load`, `reload`, `set`):
        StoreUnavailable: what was known before holds on.
    """

    def __init__(self, store: Store, defaults: Rules, *, platforms: Mapping[str, Rules] = PLATFORM_RULES) -> None:
        """`defaults` hold where nothing was chosen, save on the `platforms` that have their own."""
        self._store = store
        self._defaults = defaults
        self._own_defaults = dict(platforms)
        self._platforms: set[str] = set()
        self._chosen: dict[Channel, dict[str, str]] = {}
        self._rules: dict[Channel, Rules] = {}
        self._ignored: set[ChannelSetting] = set()
        # What was read before a change must not be entered after it.
        self._one_at_a_time = asyncio.Lock()

    def of(self, platform: str, workspace: str, channel: str) -> Rules:
        """Return what holds in a channel; the defaults where nothing was chosen."""
        return self._rules.get((platform, workspace, channel)) or self._defaults_of(platform)

    def chosen(self, platform: str, workspace: str, channel: str) -> Mapping[str, str]:
        """Return what was chosen for this channel, by the settings' names."""
        return dict(self._chosen.get((platform, workspace, channel), {}))

    async def load(self, platform: str) -> None:
        """Read what was chosen for the channels of a platform, in place of what was known of them."""
        async with self._one_at_a_time:
            kept = await self._store.settings(platform)
            for channel in [channel for channel in self._chosen if channel[0] == platform]:
                del self._chosen[channel], self._rules[channel]
            for setting in kept:
                self._enter_kept(setting)
            self._platforms.add(platform)

    async def reload(self) -> None:
        """Read every platform that was loaded once more: another process may have changed something."""
        for platform in sorted(self._platforms):
            await self.load(platform)

    async def set(self, platform: str, workspace: str, channel: str, name: str, value: str, *, at: datetime) -> None:
        """Choose `value` for a setting of a channel, for good and at once; `DEFAULT` takes the choice back.

        Raises:
            SettingRefused: and nothing changes.
        """
        if name not in SETTINGS:
            raise SettingRefused(words.not_a_choice("setting", tuple(SETTINGS)))
        if value not in (offered := choices_of(name)):
            raise SettingRefused(words.not_a_choice(name, offered))
        kept = ChannelSetting(
            platform=platform, workspace=workspace, channel=channel, name=name, value="" if value == DEFAULT else value
        )
        async with self._one_at_a_time:
            await self._store.put_setting(kept, at=at)
            self._enter(kept)
        log.info("rules.changed", platform=platform, workspace=workspace, channel=channel, setting=name, value=value)

    def _enter_kept(self, setting: ChannelSetting) -> None:
        if setting.name in SETTINGS and setting.value in SETTINGS[setting.name].choices:
            self._enter(setting)
        elif setting not in self._ignored:  # said once, however often it is read
            self._ignored.add(setting)
            log.warning("rules.ignored", setting=setting.name, value=setting.value, reason="a newer version wrote it")

    def _enter(self, setting: ChannelSetting) -> None:
        channel = (setting.platform, setting.workspace, setting.channel)
        chosen = self._chosen.setdefault(channel, {})
        if setting.value:
            chosen[setting.name] = setting.value
        else:
            chosen.pop(setting.name, None)
        fields: dict[str, Any] = {name: SETTINGS[name].choices[value] for name, value in chosen.items()}
        self._rules[channel] = replace(self._defaults_of(setting.platform), **fields)

    def _defaults_of(self, platform: str) -> Rules:
        return self._own_defaults.get(platform, self._defaults)


def choices_of(name: str) -> tuple[str, ...]:
    """List what may be chosen for a setting; nothing when there is no such setting."""
    return (*SETTINGS[name].choices, DEFAULT) if name in SETTINGS else ()


def value_of(rules: Rules, name: str) -> str:
    """Say what holds for a setting, in the word that is typed for it."""
    meant = getattr(rules, name)
    return next(value for value, meaning in SETTINGS[name].choices.items() if meaning == meant)
