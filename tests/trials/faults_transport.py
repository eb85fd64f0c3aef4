"""Faults of the way to a model's server: its statuses, its connections, its silences and its sizes."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fakes.model_server import CUT, STALL, Exchange, chunk, data, drop, hang, openai_stream, refuse, send
from tests.trials.fault import (
    BROKEN,
    BUSY,
    DONE,
    HALF,
    HELLO,
    HELLO_THERE,
    HTML,
    LEAK,
    REFUSED,
    REJECTED,
    SECURE,
    STOP,
    TIMEOUT,
    TOO_LONG,
    TRACE,
    UNAVAILABLE,
    WHOLE,
    Fault,
    Json,
    endless,
    error,
    raw,
)


async def _at_date(exchange: Exchange) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    await refuse(429, error(), {"retry-after": soon})(exchange)


async def _headers_without_end(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\n")
    line = b"x-filler: " + b"x" * 65000 + b"\r\n"
    for _ in range(100 * 1024**2 // len(line)):
        if exchange.client_left.is_set() or exchange.writer.is_closing():
            break
        exchange.writer.write(line)
        await exchange.writer.drain()
    exchange.writer.close()


async def _close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _plain_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(f"HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\n\r\n{HTML}".encode())
    await writer.drain()


async def _talk_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"SSH-2.0-OpenSSH_9.7 {LEAK}\r\n".encode())
    await reader.read()


def _status(status: int, shows: str, name: str = "", *, body: Json = None, **more: Any) -> Fault:
    return Fault(
        name=name or f"{status}_{'page' if more.get('html') else 'json'}",
        does=refuse(status, error() if body is None else body, **more),
        shows=shows,
    )


def _limited(name: str, headers: dict[str, str], shows: str = BUSY, body: Json = None) -> Fault:
    return Fault(name=f"429_{name}", does=refuse(429, body or error(), headers), shows=shows)


def _cut_short(text: str) -> bytes:
    """Write an answer that claims to be longer than it is."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
    return f"{head}{text}".encode()


def _old(text: str) -> bytes:
    """Write an answer as servers did before there were chunks: it ends with the connection."""
    return f"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}".encode()


_BOMB = gzip.compress(b"x" * 50_000_000)

STATUSES = (
    _status(400, REJECTED),
    _status(400, REJECTED, body=HTML, html=True),
    _status(400, REJECTED, "400_empty", body=""),
    _status(400, TOO_LONG, "context_length", body=error(code="context_length_exceeded")),
    _status(400, REFUSED, "filter_before_the_answer", body=error(code="content_filter")),
    _status(401, REJECTED),
    _status(402, REJECTED),
    _status(403, REJECTED, body=HTML, html=True),
    _status(404, REJECTED, body=HTML, html=True),
    _status(408, UNAVAILABLE),
    _status(409, UNAVAILABLE),
    _status(413, TOO_LONG, body=HTML, html=True),
    _status(422, REJECTED, body={"detail": [{"loc": ["body"], "msg": LEAK}]}),
    _status(500, UNAVAILABLE, "500_traceback", body=TRACE),
    _status(500, UNAVAILABLE, body=HTML, html=True),
    _status(502, UNAVAILABLE, body=HTML, html=True),
    _status(503, UNAVAILABLE, "503_empty", body=""),
    _status(503, UNAVAILABLE, "503_loading", body=error("Loading model"), headers={"retry-after": "1"}),
    _status(504, UNAVAILABLE, body=HTML, html=True),
    _status(529, UNAVAILABLE),
    _status(307, REJECTED, "redirect", body="", headers={"location": "/v1/elsewhere"}),
    _status(301, REJECTED, "redirect_to_a_file", body="", headers={"location": "file:///etc/passwd"}),
    Fault(name="204_no_content", does=raw(b"HTTP/1.1 204 No Content\r\n\r\n"), shows=BROKEN),
    _limited("seconds", {"retry-after": "1"}),
    _limited("fraction", {"retry-after": "0.5"}),
    _limited("milliseconds", {"retry-after-ms": "500"}),
    Fault(name="429_date", does=_at_date, shows=BUSY),
    _limited("counters", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s200ms"}),
    _limited("an_hour", {"retry-after": "3600"}),
    _limited("a_thousand_years", {"retry-after": "31536000000"}),
    _limited("nonsense", {"retry-after": "as soon as possible"}),
    _limited("below_zero", {"retry-after": "-5"}),
    _limited("infinity", {"retry-after": "inf"}),
    _limited("not_to_be_retried", {"x-should-retry": "false"}),
    _limited("money", {"retry-after": "1"}, REJECTED, error(code="insufficient_quota")),
)

CONNECTIONS = (
    Fault(name="refused", listens=False, shows=UNAVAILABLE),
    Fault(name="closed_at_the_door", door=_close_at_once, shows=UNAVAILABLE),
    Fault(name="reset_at_the_door", door=_reset_at_once, shows=UNAVAILABLE),
    Fault(name="another_protocol", door=_talk_first, shows=TIMEOUT, quick=False),
    Fault(name="never_read", door=_never_read, shows=TIMEOUT, quick=False),
    Fault(name="closed_after_the_request", does=drop, shows=UNAVAILABLE),
    Fault(name="reset_after_the_request", does=raw(then="reset"), shows=UNAVAILABLE),
    Fault(name="half_a_status", does=raw(b"HTTP/1.1 2"), shows=UNAVAILABLE),
    Fault(name="half_a_header", does=raw(b"HTTP/1.1 200 OK\r\ncontent-ty", then="reset"), shows=UNAVAILABLE),
    Fault(name="no_http", does=raw(f"{LEAK}\r\n\r\n".encode()), shows=UNAVAILABLE),
    Fault(name="reset_behind_the_head", does=send(CUT), shows=BROKEN),
    Fault(name="closed_behind_the_head", does=send(), shows=BROKEN),
    Fault(name="reset_behind_a_word", does=send(HELLO, CUT), shows=HALF),
    Fault(name="closed_behind_a_word", does=send(HELLO), shows=HALF),
    Fault(name="shorter_than_it_says", does=raw(_cut_short(HELLO)), shows=HALF),
    Fault(
        name="cut_in_a_chunk",
        does=raw(
            _cut_short("").replace(b"content-length: 9999", b"transfer-encoding: chunked") + b"fff\r\n" + HELLO.encode()
        ),
        shows=HALF,
    ),
    Fault(
        name="nonsense_for_a_chunk",
        does=raw(_cut_short("").replace(b"content-length: 9999", b"transfer-encoding: chunked") + b"LEAK\r\n"),
        shows=BROKEN,
    ),
    Fault(name="http_1_0_whole", does=raw(_old("".join(openai_stream(*HELLO_THERE)))), shows=WHOLE),
    Fault(name="http_1_0_cut", does=raw(_old(HELLO)), shows=HALF),
    Fault(name="tls_where_there_is_none", address=SECURE, door=_plain_only, shows=UNAVAILABLE),
    Fault(name="tls_that_never_answers", address=SECURE, door=_never_read, shows=TIMEOUT, quick=False),
    Fault(name="tls_reset", address=SECURE, door=_reset_at_once, shows=UNAVAILABLE),
)

SILENCES = (
    Fault(name="never_a_byte", does=hang, shows=TIMEOUT, quick=False),
    Fault(name="silence_behind_the_head", does=send(STALL), shows=TIMEOUT, quick=False),
    Fault(name="silence_behind_a_word", does=send(HELLO, STALL), shows=HALF, quick=False),
    Fault(name="silence_in_a_header", does=raw(b"HTTP/1.1 200 OK\r\nx-a: ", then="stall"), shows=TIMEOUT, quick=False),
    Fault(name="dripping_head", does=raw(*[b"x"] * 600, pause=1.0), shows=TIMEOUT, quick=False),
    Fault(name="dripping_event", does=endless("x", before=["data: "], pause=1.0), shows=TIMEOUT, quick=False),
    Fault(name="only_comments", does=endless(": LEAK PROCESSING\n\n", pause=1.0), shows=TIMEOUT, quick=False),
    Fault(name="only_thoughts", does=endless(data(chunk(reasoning_content=LEAK)), pause=1.0), shows=TIMEOUT, quick=False),
    Fault(name="a_word_a_second_for_ever", does=endless(HELLO, pause=1.0), shows="Hello", more=True, quick=False),
    Fault(name="no_end_behind_the_stop", does=send(HELLO, data(chunk(" there.")), STOP, STALL), shows=WHOLE),
    Fault(name="silence_in_a_refusal", does=send(LEAK, STALL, status=500), shows=UNAVAILABLE, quick=False),
)

SIZES = (
    Fault(name="endless_thoughts", does=endless(data(chunk(reasoning_content=LEAK * 2000))), shows=BROKEN),
    Fault(name="endless_line", does=endless("x" * 60000, before=["data: "]), shows=BROKEN),
    Fault(name="endless_comments", does=endless(f": {LEAK * 10000}\n\n"), shows=BROKEN),
    Fault(name="endless_refusal", does=send(*[LEAK * 10000] * 50, status=500), shows=UNAVAILABLE),
    Fault(name="endless_answer", does=endless(data(chunk("Hello " * 4000))), shows="Hello", more=True, quick=False),
    Fault(
        name="answer_of_many_small_words",
        does=send("".join(data(chunk("Hello ")) for _ in range(50_000)), STOP, DONE),
        shows="Hello",
        more=True,
        quick=False,
    ),
    Fault(name="100_mb_of_headers", does=_headers_without_end, shows=UNAVAILABLE),
    Fault(name="bomb", does=send(_BOMB, headers={"content-encoding": "gzip"}), shows=BROKEN),
    Fault(name="bomb_in_a_refusal", does=send(_BOMB, status=500, headers={"content-encoding": "gzip"}), shows=UNAVAILABLE),
)
TRANSPORT = (*STATUSES, *CONNECTIONS, *SILENCES, *SIZES)
