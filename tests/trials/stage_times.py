"""Stages on which people speak at moments of a trial's choice, and which the bot can't reach for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Stage

FOR_GOOD = 1_000_000


class TimedStage(Stage, Protocol):
    """A platform whose clock a trial can get around."""

    def say_at(self, place: int, text: str, at: datetime, *, heard: bool = True) -> None:
        """Let the person of a place have said something at that moment. Unless it is `heard`, no event tells of it, as when
        the platform has given up delivering it."""

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Fail everything that the bot writes, while it goes on hearing."""

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Cut the connections by which the bot hears, and let it have no other."""


class TimedSlack(SlackStage):
    """Slack, where a message's `ts` is its moment."""

    def say_at(self, place: int, text: str, at: datetime, *, heard: bool = True) -> None:
        person, channel, mention = self._places[place]
        thread = self._roots.get(place)
        said = self._slack.do(person.say, channel, mention + text, thread=thread, at=at, heard=heard)
        if mention:
            self._roots.setdefault(place, said)

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        fault = self._slack.fail("chat.*", status=503, times=FOR_GOOD)
        yield
        fault.times = 0

    @contextmanager
    def unheard(self) -> Iterator[None]:
        self._slack.refuse_sockets(FOR_GOOD)
        self._slack.do(self._slack.drop_sockets)
        yield
        self._slack.refuse_sockets(0)


class TimedDiscord(DiscordStage):
    """Discord, where a message's id tells its moment."""

    def say_at(self, place: int, text: str, at: datetime, *, heard: bool = True) -> None:
        person, channel = self._places[place]
        assert heard or not self._discord.gateway.connected, "Discord tells everything to who is there"
        self._discord.do(person.say, channel, f"{self._discord.bot.mention} {text}", sent_at=at)

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        faults = [self._discord.fail(method, "/channels/**", status=503, times=FOR_GOOD) for method in ("POST", "PATCH")]
        yield
        for fault in faults:
            fault.times = 0

    @contextmanager
    def unheard(self) -> Iterator[None]:
        self._discord.refuse_gateway(FOR_GOOD)
        self._discord.do(self._discord.drop, None)
        yield
        self._discord.refuse_gateway(0)
