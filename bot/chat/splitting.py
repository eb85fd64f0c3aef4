"""Cut a long markdown answer into messages, losing nothing (pure).

Laws, for any text (`tests/chat/test_splitting.py`):

- every part measures at most `limit` and is not empty; the bodies, joined, are the text;
- a code fence that is open at the end of a part is closed there and opened again in the next part, so that each part
  reads right by itself. A fence longer than a quarter of the limit is plain text; an opening line longer than that is
  opened again without its info string;
- nothing is cut inside a grapheme cluster, a URL, a markdown link or a fence's line that fits in a part by itself;
- all parts but the last are final: whatever the text goes on with, they stay as they are;
- the work is linear: a part takes a look at no more than `limit` + 1 characters, and the parts are few.

The last two hold because a cut is decided by one window alone: the shortest beginning of the rest that does not fit.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

import regex  # type: ignore[import-untyped]  # for \X alone, which re does not have

from bot.chat.protocol import Measure

SMALLEST_LIMIT = 16
"""Below it a fence, its closing and one character might not fit together."""

_LINE = re.compile(r"[^\n]*+\n|[^\n]++")
_FENCE = re.compile(r"[ \t]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)*+(?P<marker>`{3,}+|~{3,}+)(?P<info>[^\n]*+)")
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]*_]*+\s++|[。！？][」』”’）]*+\s*+")
_SPACE = re.compile(r"\s++")
# Better not cut inside. \Z is the end of the window: what is not finished there may well go on behind it.
_UNIT = re.compile(
    r"""
    !?\[ (?:[^\]\[\n] | \[[^\]\[\n]*+(?:\]|\Z))*+           # a link, its label with one level of brackets inside,
        (?: \Z | \] (?: \Z | \( (?:[^()\n] | \([^()\n]*+(?:\)|\Z))*+ (?:\)|\Z)))           # its target of parentheses
    | <?https?://[!#$%&'()*+,./0-9:;=?@A-Z_a-z~-]*+>?      # a URL
    | <?h(?:t(?:t(?:p(?:s?(?::/?)?)?)?)?)?\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Better not put at the beginning of a line: it would open or close a fence there.
_MARKER = re.compile(r"(?<![ \t])[ \t]*+(?:`{3,}+|~{3,}+|`{1,2}\Z|~{1,2}\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One message. `body` is a piece of the text; `opening` and `closing` are added to make its code fences whole."""

    body: str
    opening: str = ""
    closing: str = ""

    @property
    def text(self) -> str:
        """The part as it is shown."""
        return self.opening + self.body + self.closing


def split(text: str, limit: int, measure: Measure) -> list[Part]:
    """Cut `text` into parts whose `text` is at most `limit` long in `measure`; an empty text has none.

    Raises:
        ValueError: `limit` is below `SMALLEST_LIMIT`.
    """
    return list(parts_of(text, limit, measure))


def parts_of(text: str, limit: int, measure: Measure) -> Iterator[Part]:
    """Cut as `split` does, part by part: whoever takes only the first ones does not pay for the others.

    Raises:
        ValueError: `limit` is below `SMALLEST_LIMIT`.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"a part needs room for {SMALLEST_LIMIT}, not {limit}")
    return _Splitter(limit, measure).parts(text)


def join(parts: Iterable[Part]) -> str:
    """Give back the text that was split."""
    return "".join(part.body for part in parts)


@dataclass(frozen=True, slots=True)
class _Fence:
    """An open code fence: its marker, and the line that opens it again."""

    marker: str
    opening: str

    def closed_by(self, line: str) -> bool:
        run = line.lstrip(" \t").rstrip(" \t\r\n")
        return run.startswith(self.marker) and not run.strip(self.marker[0])

    def closing(self, line: str) -> str:
        """What closes the fence behind `line`, the last of a part; a closing line that has begun is completed."""
        begun = line.rpartition("\n")[2].lstrip(" \t")
        if len(begun) < len(self.marker) and self.marker.startswith(begun):
            return self.marker[len(begun) :]
        return "\n" + self.marker


@dataclass(slots=True)
class _Places:
    """Where a window may be cut: `paragraphs` and `lines` begin there, `kept` is better left whole, `poor` looks odd."""

    paragraphs: set[int] = field(default_factory=set)
    lines: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    poor: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Splitter:
    limit: int
    measure: Measure

    def parts(self, text: str) -> Iterator[Part]:
        start, fence = 0, None
        while start < len(text):
            opening = fence.opening if fence else ""
            room = self.limit - self.measure.of(opening)
            rest = text[start : start + room + 1]  # every character measures at least 1
            window = self._overflow(rest, fence, room)
            body = rest[: self._cut(window, fence)] if window else rest
            line = ""
            for line in _LINE.findall(body):
                fence = self._after(line, fence)
            yield Part(body=body, opening=opening, closing=fence.closing(line) if fence else "")
            start += len(body)

    def _overflow(self, rest: str, fence: _Fence | None, room: int) -> str:
        """Return the shortest beginning of `rest` that, with its fence closed, is longer than `room`; "" if all fits."""
        start = used = 0
        for line in _LINE.findall(rest):
            fitting = self._fitting(line, fence, room - used)
            if fitting < len(line):
                return rest[: start + fitting + 1]
            start += len(line)
            used += self.measure.of(line)
            fence = self._after(line, fence)
        return ""

    def _fitting(self, line: str, fence: _Fence | None, room: int) -> int:
        """Count the characters of `line` that fit into `room` together with the closing that may follow them."""

        def need(length: int) -> int:  # grows with the length, so that the first that is too much can be searched for
            shown = line[:length]
            may_be_open = self._opened(shown) if fence is None else None if fence.closed_by(shown) else fence
            return self.measure.of(shown) + len(may_be_open.closing(shown) if may_be_open else "")

        if need(len(line)) <= room:
            return len(line)
        return bisect_right(range(len(line)), room, key=need) - 1

    def _opened(self, line: str) -> _Fence | None:
        """Return the fence that `line` opens, or would if it were no inline code."""
        if not (found := _FENCE.match(line)):
            return None
        longest = self.limit // 4
        marker = found["marker"][:longest]
        opening = f"{marker}{found['info'].rstrip()}\n"
        return _Fence(marker, opening if self.measure.of(opening) <= longest else f"{marker}\n")

    def _after(self, line: str, fence: _Fence | None) -> _Fence | None:
        """Return the fence that is open behind `line`."""
        if fence:
            return None if fence.closed_by(line) else fence
        found = _FENCE.match(line)
        if not found or len(found["marker"]) > self.limit // 4:
            return None
        inline_code = found["marker"].startswith("`") and "`" in found["info"]
        return None if inline_code else self._opened(line)

    def _cut(self, window: str, fence: _Fence | None) -> int:
        """Choose where to cut `window`, of which all but the last character fits."""
        places = self._places(window, fence)
        graphemes: list[str] = regex.findall(r"\X", window)
        ends = list(accumulate(len(grapheme) for grapheme in graphemes))[:-1]
        whole = [end for end in ends if end not in places.kept]
        free = [end for end in whole if end not in places.poor] or whole
        if not free:  # one long URL, or one long grapheme
            return ends[-1] if ends else len(window) - 1
        last = free[-1]
        good = {end for end in free if end > last // 2}
        sentences = {found.end() for found in _SENTENCE.finditer(window)}
        words = {found.end() for found in _SPACE.finditer(window)}
        for kind in (places.paragraphs, places.lines, sentences, words):
            if best := good & kind:
                return max(best)
        return last

    def _units(self, window: str) -> Iterator[re.Match[str]]:
        """Find the links and URLs; when one fills the whole window and has to be cut, those inside its second half."""
        first = _UNIT.match(window)
        has_to_be_cut = first is not None and first.end() == len(window)
        return _UNIT.finditer(window, len(window) // 2 if has_to_be_cut else 0)

    def _places(self, window: str, fence: _Fence | None) -> _Places:
        """Find the places of `window` whose choice takes more than a look at the characters beside them."""
        lines = list(_LINE.finditer(window))
        places = _Places(lines={line.start() for line in lines})
        places.kept.update(at for found in _MARKER.finditer(window) for at in range(*found.span()) if at not in places.lines)
        places.kept.update(at for found in self._units(window) for at in range(found.start() + 1, found.end()))
        blank_before = False
        for found in lines:
            line, (start, end) = found[0], found.span()
            after = self._after(line, fence)
            if fence is None and _FENCE.match(line) and len(line) < len(window):
                places.kept.update(range(start + 1, end))
            if fence is None and after:
                places.paragraphs.add(start)
                places.poor.add(end)  # a part would end with a fence that has nothing in it
            elif fence and after is None:
                shown = start + len(line.rstrip("\r\n"))
                places.poor.add(start)  # a part would begin with one
                places.kept.update(range(start + 1, shown))
                places.paragraphs.update((shown, end))
            elif fence is None and blank_before:
                places.paragraphs.add(start)
            blank_before = line.isspace()
            fence = after
        return places
