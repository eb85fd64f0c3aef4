"""A model's server on loopback that speaks both wire protocols and misbehaves as it is told.

In a test:

    async with ModelServer() as server:
        server.plan(refuse(429, {"error": {"code": "rate_limit_exceeded"}}, {"retry-after": "1"}), say("Hel", "lo"))
        model = OpenAIModel(base_url=server.openai_url, ...)

Each call takes the next behaviour of the plan; with none left it answers with `reply(question)`. As a process of its own:

    python -m tests.fakes.model_server --port-file F --delay-ms 20 --reply echo

There `GET /_requests` gives what was asked, and `POST /_plan` takes a list of steps:
`{"status": 429, "headers": {}, "body": {}, "times": 2}` or
`{"say": ["Hel", "lo"], "then": "finish" | "cut" | "stall" | "end"}`.
A step with `"to": "Ada"` is kept for a question that holds these words, whatever is asked before.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvloop

Json = Any
Part = bytes | str | asyncio.Event
Behaviour = Callable[["Exchange"], Awaitable[None]]

CUT = "\0cut"
"""A part that resets the connection."""
STALL = "\0stall"
"""A part that sends nothing more until the client goes away."""


def echo(question: str) -> str:
    return f"You asked: {question}"


@dataclass(slots=True)
class Exchange:
    """One request and the way to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    writer: asyncio.StreamWriter = field(repr=False)
    client_left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed the connection before the answer was complete."""
    chunked: bool = False
    alongside: tuple[int, ...] = ()
    """The numbers of the requests, from 0, that were still being answered when this one came."""
    began: float = 0.0
    ended: float = 0.0
    """When it came and when the last byte of its answer was sent, in seconds of the monotonic clock of all processes."""

    @property
    def anthropic(self) -> bool:
        return self.path.endswith("/messages")

    @property
    def question(self) -> str:
        users = [message["content"] for message in self.body.get("messages", []) if message.get("role") == "user"]
        last = users[-1] if users else ""
        return last if isinstance(last, str) else "".join(part.get("text", "") for part in last)

    async def start(
        self, status: int = 200, headers: Mapping[str, str] | None = None, *, content_type: str = "text/event-stream"
    ) -> None:
        """Send the head of an answer whose body comes in parts."""
        lines = [f"HTTP/1.1 {status} Status", "transfer-encoding: chunked"]
        fields = {"content-type": content_type} | dict(headers or {})
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        self.chunked = True
        await self._write("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def send(self, part: Part) -> None:
        """Send one part as it stands, or do what it stands for."""
        if isinstance(part, asyncio.Event):
            await part.wait()
        elif part == CUT:
            self.writer.transport.abort()
        elif part == STALL:
            await self.client_left.wait()
        else:
            data = part.encode() if isinstance(part, str) else part
            if data:
                await self._write(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        """End the body in good order, as far as HTTP is concerned."""
        if self.chunked:
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)
            await self.writer.drain()


# What a server says, in either dialect


def data(value: Json) -> str:
    """Write one event of an OpenAI stream."""
    return f"data: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n\n"


def event(value: Json) -> str:
    """Write one event of an Anthropic stream."""
    return f"event: {value['type']}\n{data(value)}"


def chunk(content: str | None = None, *, finish: str | None = None, **delta: Json) -> Json:
    """Build one chunk of an OpenAI completion."""
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "fake-model", "choices": [choice]}


USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def openai_stream(*pieces: str, finish: str | None = "stop", usage: bool = True, done: bool = True) -> list[str]:
    """Write an OpenAI stream, event by event."""
    events = [data(chunk(role="assistant", content=""))] + [data(chunk(piece)) for piece in pieces]
    if finish is not None:
        events.append(data(chunk(finish=finish)))
    if usage:
        events.append(data({"object": "chat.completion.chunk", "model": "fake-model", "choices": [], "usage": USAGE}))
    return events + [data("[DONE]")] * done


def anthropic_stream(*pieces: str, stop: str | None = "end_turn", done: bool = True) -> list[str]:
    """Write an Anthropic stream, event by event."""
    message: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "fake-model",
        "content": [],
        "stop_reason": None,
    }
    events: list[Json] = [
        {"type": "message_start", "message": message | {"usage": {"input_tokens": 11, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    events.append({"type": "content_block_stop", "index": 0})
    if stop is not None:
        events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}})
    if done:
        events.append({"type": "message_stop"})
    return [event(value) for value in events]


# What a server does


def send(
    *parts: Part, status: int = 200, headers: Mapping[str, str] | None = None, content_type: str = "text/event-stream"
) -> Behaviour:
    """Answer with exactly these bytes, each part a chunk of its own; STALL, CUT and events stand where they take effect."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start(status, headers, content_type=content_type)
        for part in parts:
            await exchange.send(part)
        await exchange.end()

    return behave


def refuse(status: int, body: Json = None, headers: Mapping[str, str] | None = None, *, html: bool = False) -> Behaviour:
    """Answer with a status that is no success."""
    text = body if isinstance(body, str) else json.dumps(body)
    return send(text, status=status, headers=headers, content_type="text/html" if html else "application/json")


def say(*pieces: str, then: str = "finish", pause: float = 0.0, pauses: Sequence[float] = ()) -> Behaviour:
    """Answer with these pieces in the dialect that was asked for, then "finish", "cut", "stall" or "end" without finish.

    `pause` is in seconds before every event of the stream; `pauses` are those before the first ones.
    """

    async def behave(exchange: Exchange) -> None:
        finish = then == "finish"
        if exchange.anthropic:
            events = anthropic_stream(*pieces, stop="end_turn" if finish else None, done=finish)
        else:
            events = openai_stream(*pieces, finish="stop" if finish else None, usage=finish, done=finish)
        await exchange.start()
        for part, wait in itertools.zip_longest(events, pauses[: len(events)]):
            wait = pause if wait is None else wait
            if wait and not exchange.client_left.is_set():
                await asyncio.sleep(wait)
            await exchange.send(part)
        if then in ("cut", "stall"):
            await exchange.send(CUT if then == "cut" else STALL)
        await exchange.end()

    return behave


async def hang(exchange: Exchange) -> None:
    """Take the request and never answer."""
    await exchange.client_left.wait()


async def drop(exchange: Exchange) -> None:
    """Close the connection without a word."""
    exchange.writer.close()


class ModelServer:
    """The server; `requests` holds every exchange, `left` those whose client went away before the end."""

    def __init__(
        self, reply: Callable[[str], str] = echo, *, delay_seconds: float = 0.0, api_key: str | None = None, port: int = 0
    ) -> None:
        self._reply = reply
        self._delay = delay_seconds
        self._api_key = api_key
        self._port = port
        self._plan: deque[Behaviour] = deque()
        self._kept: list[tuple[str, Behaviour]] = []
        self._always: Behaviour | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._under_way: dict[int, Exchange] = {}
        self.requests: list[Exchange] = []
        self.left: list[Exchange] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=1000)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The root, which is the base URL of the Anthropic dialect."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        return self._port

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    @property
    def bodies(self) -> list[Json]:
        return [exchange.body for exchange in self.requests]

    @property
    def planned(self) -> int:
        """How many behaviours no call has taken yet."""
        return len(self._plan)

    def plan(self, *behaviours: Behaviour) -> None:
        """Say what the next calls get."""
        self._plan += behaviours

    def keep(self, words: str, *behaviours: Behaviour) -> None:
        """Say what the next calls get whose question holds these words."""
        self._kept += [(words, behaviour) for behaviour in behaviours]

    def _kept_for(self, question: str) -> Behaviour | None:
        for number, (words, behaviour) in enumerate(self._kept):
            if words in question:
                del self._kept[number]
                return behaviour
        return None

    def always(self, behaviour: Behaviour | None) -> None:
        """Say what every call gets for which nothing is planned, until something else is said; None for the usual answer."""
        self._always = behaviour

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, request by request."""
        early = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                while not writer.is_closing():
                    exchange = await self._read(reader, writer, early)
                    watcher = asyncio.create_task(self._watch(reader, exchange))
                    try:
                        await self._answer(exchange)
                    finally:
                        watcher.cancel()
                        (seen,) = await asyncio.gather(watcher, return_exceptions=True)
                    early = seen if isinstance(seen, bytes) else b""
            finally:
                writer.close()
                await writer.wait_closed()

    @staticmethod
    async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> Exchange:
        head = (early + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Exchange(method=method, path=path, headers=headers, body=json.loads(body) if body else {}, writer=writer)

    async def _watch(self, reader: asyncio.StreamReader, exchange: Exchange) -> bytes:
        """Notice when the client leaves; what comes instead is the beginning of its next request."""
        early = b""
        with contextlib.suppress(OSError):
            early = await reader.read(1)
        if not early:
            self.left.append(exchange)
            exchange.client_left.set()
        return early

    async def _answer(self, exchange: Exchange) -> None:
        route = exchange.path.partition("?")[0]
        if route in ("/health", "/_requests", "/_plan", "/v1/models"):
            await self._answer_aside(exchange, route)
            return
        # Who hung up before this request was sent is known to have left only when the loop has looked at all sockets.
        for _ in range(3):
            await asyncio.sleep(0)
        exchange.alongside = tuple(number for number, other in self._under_way.items() if not other.client_left.is_set())
        number = len(self.requests)
        self.requests.append(exchange)
        self._under_way[number] = exchange
        exchange.began = time.monotonic()
        try:
            await self._behave(exchange, route)
        finally:
            exchange.ended = time.monotonic()
            del self._under_way[number]

    async def _behave(self, exchange: Exchange, route: str) -> None:
        given = exchange.headers.get("x-api-key") or exchange.headers.get("authorization", "").removeprefix("Bearer ")
        kept = self._kept_for(exchange.question) if self._kept and exchange.body else None
        if kept is not None:
            behave = kept
        elif self._plan:
            behave = self._plan.popleft()
        elif self._always is not None:
            behave = self._always
        elif self._api_key is not None and given != self._api_key:
            behave = refuse(401, {"error": {"type": "authentication_error", "message": "invalid key"}})
        elif route.endswith(("/chat/completions", "/messages")) and exchange.method == "POST":
            behave = say(*re.findall(r"\s*\S+\s*", self._reply(exchange.question)), pause=self._delay)
        else:
            behave = refuse(404, "<html><body>no such page</body></html>", html=True)
        await behave(exchange)

    async def _answer_aside(self, exchange: Exchange, route: str) -> None:
        answer: Json = {"status": "ok"}
        if route == "/v1/models":
            answer = {"object": "list", "data": [{"id": "fake-model", "object": "model"}]}
        elif route == "/_requests":
            fields = ("method", "path", "headers", "body", "alongside", "began", "ended")
            answer = [{name: getattr(seen, name) for name in fields} for seen in self.requests]
        elif route == "/_plan":
            for step in exchange.body:
                if "to" in step:
                    self.keep(step["to"], *planned([step]))
                else:
                    self.plan(*planned([step]))
        await send(json.dumps(answer), content_type="application/json")(exchange)


def planned(steps: Iterable[Json]) -> list[Behaviour]:
    """Read behaviours as they come over the wire."""
    behaviours: list[Behaviour] = []
    for step in steps:
        if "say" in step:
            pauses = [milliseconds / 1000 for milliseconds in step.get("pauses_ms", ())]
            pause = step.get("pause_ms", 0) / 1000
            behaviour = say(*step["say"], then=step.get("then", "finish"), pause=pause, pauses=pauses)
        else:
            behaviour = refuse(step["status"], step.get("body"), step.get("headers"))
        behaviours += [behaviour] * step.get("times", 1)
    return behaviours


async def serve(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    options = argparse.ArgumentParser(prog="tests.fakes.model_server", description="A model's server for tests.")
    options.add_argument("--port", type=int, default=0, help="0 takes any free port")
    options.add_argument("--port-file", type=Path, help="where to write the port once the server listens")
    options.add_argument("--delay-ms", type=int, default=0, help="pause before every event")
    options.add_argument("--reply", default="echo", help="the answer to everything; `echo` names the question")
    options.add_argument("--api-key", help="refuse calls with another key")
    chosen = options.parse_args(arguments)
    reply = echo if chosen.reply == "echo" else lambda _: str(chosen.reply)
    server = ModelServer(reply, delay_seconds=chosen.delay_ms / 1000, api_key=chosen.api_key, port=chosen.port)
    async with server:
        if chosen.port_file is not None:
            part = chosen.port_file.with_suffix(".part")
            part.write_text(str(server.port))
            part.replace(chosen.port_file)  # a reader never sees half a number
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(sys.argv[1:]))
