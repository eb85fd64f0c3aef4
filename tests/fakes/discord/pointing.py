"""Pointing discord.py at the fake, in this process and for as long as a test needs it."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING
from unittest import mock

import yarl

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the library imports audioop, which Python 3.13 no longer has
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord


@contextlib.contextmanager
def pointed_at(fake: "FakeDiscord") -> Iterator[None]:
    """Let every client of discord.py made meanwhile talk to the fake."""
    with (
        mock.patch.object(Route, "BASE", fake.api_url),
        mock.patch.object(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(fake.gateway_url)),
    ):
        yield
