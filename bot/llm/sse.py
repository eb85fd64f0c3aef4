"""Cutting a response's bytes into frames: server-sent events, or one whole body.

Own framing and not httpx-sse, for one reason: its interface drops comments, and a comment is how a queueing server says
that it is alive. It splits the bytes before decoding them, on CR, LF and CRLF only, so that neither U+2028 inside a JSON
string nor a chunk that ends inside a character can tear anything. `tests/llm/test_sse.py` cuts recorded streams at every
place and holds it against httpx-sse.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a stream; `name` is empty where the server gave none."""

    name: str = ""
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A sign of life without content."""


Frame = Event | Comment
COMMENT = Comment()


class Decoder(Protocol):
    """Turns chunks of bytes, cut anywhere, into frames."""

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Give the frames that `chunk` completes."""

    def end(self) -> Iterator[Frame]:
        """Give what is left when the body has ended in good order."""


class SseDecoder:
    """The decoder for `text/event-stream`."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._after_cr = False
        self._first_line = True
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):  # on bytes this knows CR, LF and CRLF, nothing else
            self._line.append(piece.rstrip(b"\r\n"))
            if piece.endswith((b"\r", b"\n")):
                frame = self._take_line()
                if frame is not None:
                    yield frame

    def end(self) -> Iterator[Frame]:
        # The standard drops an event without its blank line; servers forget that line before they close.
        for last in (self._take_line(), self._dispatch()):
            if last is not None:
                yield last

    def _take_line(self) -> Frame | None:
        line = b"".join(self._line)
        self._line.clear()
        if self._first_line:
            line = line.removeprefix(_BOM)
            self._first_line = False
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return COMMENT
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Frame | None:
        name, lines = self._name, self._data
        self._name, self._data = "", []
        data = "\n".join(lines)
        if data:
            return Event(name=name, data=data)
        return COMMENT if lines else None


class BodyDecoder:
    """The decoder for servers that answer a request for a stream with one JSON body."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        self._parts.append(chunk)
        yield COMMENT  # DeepSeek sends empty lines while the body is not ready

    def end(self) -> Iterator[Frame]:
        yield Event(data=b"".join(self._parts).decode("utf-8", "replace"))
