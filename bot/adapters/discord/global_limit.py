"""The gate that discord.py closes to all requests while Discord's limit for everything together is reached.

discord.py opens it again in the request that met the limit. When that request is cancelled meanwhile, as a sign of work is
after 5 s, the gate would stay closed for ever and the bot silent, so this one also opens by itself.
"""

import asyncio

import discord


class GlobalLimit(asyncio.Event):
    """Open when set; closed for `longest` seconds at the most."""

    def __init__(self, longest: float) -> None:
        super().__init__()
        self._longest = longest
        self._opening: asyncio.TimerHandle | None = None
        self.set()

    def clear(self) -> None:
        super().clear()
        self._forget()
        self._opening = asyncio.get_running_loop().call_later(self._longest, self.set)

    def set(self) -> None:
        self._forget()
        super().set()

    def _forget(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None


def limit_silence(client: discord.Client, longest: float) -> None:
    """Let no limit keep a client that is logged in from asking for longer than so many seconds."""
    client.http._global_over = GlobalLimit(longest)
