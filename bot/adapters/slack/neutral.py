"""Taking the force out of what a model writes: on Slack, text itself pings people and whole channels (pure).

Slack reads `<!channel>`, `<@U012>`, `<!subteam^S012>`, `<#C012>` as commands wherever they stand, also in code, and
`@channel` where names are linked. A character of no width keeps the eye from seeing a difference and Slack from seeing a
command. Any program that is copied out of an answer stays as it is, unless it holds such a command.
"""

import re

GAP = "\u200b"
"""ZERO WIDTH SPACE."""

# `<!--` and `<!DOCTYPE html>` are no commands; those that are have a name in small letters and end at once or at ^ or |.
_COMMAND = re.compile(r"<(?=[@#][A-Z0-9]|![A-Za-z]+[>^|])")
_EVERYBODY = re.compile(r"(?<![A-Za-z0-9.+-])@(?=channel|here|everyone)", re.IGNORECASE)
# What may yet become a command, or is blank: streamed text can't be taken back.
_OPEN_END = re.compile(r"(?:<(?:[@#]|![A-Za-z]*+)?|@[A-Za-z]{0,8})?\s*\Z")
# A code fence that is still open is closed at the end of every part, and of a growing one anew each time.
_CLOSING_FENCE = re.compile(r"\n[ \t]*(?:`{3,}+|~{3,}+)\s*\Z")

_LINK = re.compile(r"://|www\.", re.IGNORECASE)


def neutral(text: str) -> str:
    """Return `text` so that it pings nobody; to people it looks the same. Doing it twice is doing it once."""
    return _EVERYBODY.sub(f"@{GAP}", _COMMAND.sub(f"<{GAP}", text))


def settled(text: str) -> str:
    """Return the beginning of a growing text that stays as it is in its neutral form, whatever the text goes on with."""
    return _OPEN_END.sub("", _CLOSING_FENCE.sub("", text))


def before_links(text: str) -> str:
    """Return the beginning of a text as far as there is no link in it, in whole words."""
    found = _LINK.search(text)
    end = len(text) if found is None else found.start()
    while found and end and not text[end - 1].isspace():
        end -= 1
    return text[:end]
