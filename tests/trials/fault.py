"""How a model's server misbehaves in one way, and what people are to see of it: one plain sentence, what was said until it
broke off, or the whole answer where nothing is lost.

What a server says about its own failure has `LEAK` in it, so that any of it in a chat is found.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bot.chat.words import TurnError, shown
from store import Answer, Ending
from tests.fakes.model_server import Behaviour, Exchange, chunk, data

LEAK = "LEAK"
HTML = f"<html><head><title>502 {LEAK}</title></head><body><h1>nginx</h1></body></html>"
TRACE = f'Traceback (most recent call last):\n  File "server.py", line 1, in {LEAK}\nMemoryError'
SIGNS = (LEAK, "<html", "Traceback", '{"', "nginx")
"""What nobody may ever read in a chat."""
PLAIN, SECURE, ANTHROPIC = "plain", "secure", "anthropic"
"""How the server is addressed: by http with OpenAI's API, by https, or by http with Anthropic's API."""

Json = Any
Door = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is done with a connection instead of serving it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the server does to every call while it misbehaves, and what the person then sees.

    `more`: what is shown goes on behind that. `listens` False: nobody takes the connection. `quick`: it is over in seconds,
    also on a busy machine.
    """

    name: str
    shows: str
    does: Behaviour | None = None
    door: Door | None = None
    more: bool = False
    listens: bool = True
    quick: bool = True
    address: str = PLAIN


def error(message: str = f"{LEAK} at line 7", **more: Json) -> Json:
    """Write the body with which servers tell of an error."""
    return {"error": {"message": message, "type": "server_error", **more}}


def said(text: str, ending: Ending = Ending.COMPLETE) -> str:
    """Return what people see of an answer with this text and ending."""
    return shown(Answer(text=text, ending=ending), "")


def sentence(error: TurnError) -> str:
    """Return what people see of an error."""
    return shown(None, error)


REJECTED, UNAVAILABLE, BUSY = map(sentence, (TurnError.REJECTED, TurnError.UNAVAILABLE, TurnError.BUSY))
BROKEN, TOO_LONG, REFUSED = map(sentence, (TurnError.BROKEN, TurnError.TOO_LONG, TurnError.REFUSED))
TIMEOUT = sentence(TurnError.TIMEOUT)
WHOLE, HALF = said("Hello there."), said("Hello", Ending.INTERRUPTED)

HELLO = data(chunk("Hello"))
STOP = data(chunk(finish="stop"))
DONE = data("[DONE]")
HELLO_THERE = ("Hello", " there.")


def raw(*parts: bytes, then: str = "close", pause: float = 0.0) -> Behaviour:
    """Write these bytes instead of an answer, then "close", "reset" or "stall"."""

    async def behave(exchange: Exchange) -> None:
        for part in parts:
            exchange.writer.write(part)
            await exchange.writer.drain()
            await asyncio.sleep(pause)
        if then == "stall":
            await exchange.client_left.wait()
        elif then == "reset":
            exchange.writer.transport.abort()
        else:
            exchange.writer.close()

    return behave


def endless(part: str | bytes, *, before: Iterable[str] = (), pause: float = 0.0) -> Behaviour:
    """Begin a stream, and repeat this part until the client leaves."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start()
        for first in before:
            await exchange.send(first)
        while not (exchange.client_left.is_set() or exchange.writer.is_closing()):
            await exchange.send(part)
            await asyncio.sleep(pause)

    return behave
