"""What the composition root knows of a platform's adapter: the parts it works with, how it runs, how it is taken down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from bot.chat.authority import Authority
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.protocol import Surface
from bot.chat.rules import RuleBook
from store import Store

Mount = Callable[[web.Application], None]
"""Adds routes to the web side before it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The parts of the chat that an adapter hands things to."""

    store: Store
    intake: Intake
    commands: Commands
    presses: ControlPresses
    rules: RuleBook
    authority: Authority


class Adapter(Protocol):
    """One platform: events in, a `Surface` out, commands registered from the table."""

    @property
    def platform(self) -> str:
        """The platform's name in keys and addresses."""

    @property
    def surface(self) -> Surface:
        """What people see there. It works while the platform can be reached, also after `stop_intake`."""

    @property
    def mounts(self) -> Sequence[Mount]:
        """What it adds to the web side, there before `run` and until after `stop_intake`; none where it calls out itself."""

    async def run(self, inside: Inside) -> None:
        """Serve the platform until cancelled. It looks after its connection itself.

        Raises:
            PlatformRefused: the platform does not want us as we are set up; trying again would not help.
        """

    @property
    def shared(self) -> bool:
        """Other replicas are there that have to take over what this one alone hears, before it stops."""

    async def hand_over(self) -> None:
        """Let other replicas take over what this one alone hears, and return when they have, or when none is there.

        It goes on taking in what it hears meanwhile, and what it still has when cancelled.
        """

    async def stop_intake(self) -> None:
        """Take nothing in any more, and return when what is in hand was taken. The surface goes on working."""

    @property
    def ready(self) -> bool:
        """The platform can reach us now."""

    def describe(self) -> str:
        """Say in a few words for operators how the platform is doing."""


class PlatformRefused(Exception):
    """The platform does not accept a token, an intent or a scope; the message names which, and what to do."""
