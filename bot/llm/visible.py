"""What of a model's output people see: not its thoughts, and no broken characters.

Local models think aloud between `<think>` and `</think>` at the start of the content; both tags may come in pieces. Servers
that escape JSON may tear a surrogate pair over two deltas; the halves are joined, a half without its other is replaced.
"""

import re

_OPEN, _CLOSE = "<think>", "</think>"
_SURROGATE = re.compile("[\ud800-\udfff]")


class VisibleText:
    """Takes an answer piece by piece and gives back what may be shown of it."""

    def __init__(self) -> None:
        self._held = ""
        self._half = ""
        self._started = False
        self._thinking = False

    def feed(self, text: str) -> str:
        """Take a further piece; give what can be shown now, often nothing."""
        text = self._joined(text)
        if self._started:
            return text
        self._held += text
        return self._think() if self._thinking else self._start()

    def end(self) -> str:
        """Give what was held back in the hope of more."""
        half, self._half = "\ufffd" if self._half else "", ""
        if self._started:
            return half
        held = "" if self._thinking else self._held
        self._held = ""
        return held + half

    def _start(self) -> str:
        begin = self._held.lstrip()
        if begin.startswith(_OPEN):
            self._thinking = True
            self._held = begin[len(_OPEN) :]
            return self._think()
        if _OPEN.startswith(begin):
            return ""  # nothing but white space yet, or the first letters of the tag
        self._started = True
        held, self._held = self._held, ""
        return held

    def _think(self) -> str:
        _, closed, rest = self._held.partition(_CLOSE)
        if not closed:
            self._held = self._held[-len(_CLOSE) :]  # the tag may lack its end; the thoughts themselves are not kept
            return ""
        # What follows is the answer, without the blank lines that part it from the thoughts, once some of it is there.
        self._held = rest.lstrip()
        if not self._held:
            self._held = _CLOSE  # read again with the next piece
            return ""
        self._started = True
        self._thinking = False
        rest, self._held = self._held, ""
        return rest

    def _joined(self, text: str) -> str:
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._half = text[-1]
            text = text[:-1]
        return without_surrogates(text)


def without_surrogates(text: str) -> str:
    """Join the two halves of a pair to its character; a half without its other becomes U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
