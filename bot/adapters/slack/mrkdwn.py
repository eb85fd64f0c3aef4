"""From the Markdown that models write to Slack's own mrkdwn: for notifications, and where Markdown is refused (pure).

Headings become bold lines, tables become code, so that their columns stand; code stays as it is. `&`, `<` and `>` are
escaped everywhere, so the only commands in the result are the links that are made here, and these lead to the web or to a
mailbox.
"""

import re
from collections.abc import Iterator

from bot.adapters.slack.neutral import neutral

FENCE = "```"

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marker>`{3,}|~{3,})(?P<info>[^`]*)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>.*?)[ \t]*#*[ \t]*")
_BULLET = re.compile(r"(?P<indent>[ \t]*)[-*+](?P<space>[ \t]+)(?P<item>.*)")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})")
_QUOTE = re.compile(r" {0,3}>[ \t]?(?P<quoted>.*)")
_TABLE_LINE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")

_INLINE = re.compile(
    r"""
    (?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)
    | !?\[(?P<label>[^\[\]\n]*)\]\((?P<target>(?:https?://|mailto:)[^\s()<>|]*(?:\([^\s()<>|]*\)[^\s()<>|]*)*)
        (?:[ ]+"[^"\n]*")?\)
    | <(?P<address>(?:https?://|mailto:)[^\s<>|]+)>
    """,
    re.VERBOSE,
)
_STRONG_EMPHASIS = re.compile(r"(?<![\w*])\*\*\*(?=\S)([^*]+?)(?<=\S)\*\*\*(?![\w*])")
_STRONG = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|(?<!\w)__(?=\S)(.+?)(?<=\S)__(?!\w)")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]*?)(?<=[^\s*])\*(?![\w*])")
_STRUCK = re.compile(r"~~(?=\S)(.+?)(?<=\S)~~")
# These stand for asterisks that are done, and around the numbers of what is set aside; Slack shows no such characters.
_STAR, _OPEN, _CLOSE = "\x01", "\x02", "\x03"
_SET_ASIDE = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_NOT_SHOWN = dict.fromkeys(map(ord, f"\x00{_STAR}{_OPEN}{_CLOSE}"))


def escape(text: str) -> str:
    """Write the three characters that Slack reads as its own so that it shows them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(markdown: str) -> str:
    """Return the text as mrkdwn. It pings nobody, and nothing that people read is left out."""
    return neutral("\n".join(_blocks(markdown.translate(_NOT_SHOWN).split("\n"))))


def _blocks(lines: list[str]) -> Iterator[str]:
    number = 0
    while number < len(lines):
        if (fence := _FENCE.fullmatch(lines[number])) is not None:
            end = _end_of_code(lines, number + 1, fence["marker"])
            yield from (FENCE, *map(escape, lines[number + 1 : end]), FENCE)
            number = end + 1
        elif _begins_table(lines, number):
            end = _end_of_table(lines, number + 2)
            yield from (FENCE, *map(escape, lines[number:end]), FENCE)
            number = end
        else:
            yield _line(lines[number])
            number += 1


def _end_of_code(lines: list[str], number: int, marker: str) -> int:
    closing = re.compile(rf"[ \t]*{re.escape(marker[0])}{{{len(marker)},}}[ \t]*")
    while number < len(lines) and not closing.fullmatch(lines[number]):
        number += 1
    return number


def _begins_table(lines: list[str], number: int) -> bool:
    return (
        number + 1 < len(lines)
        and "|" in lines[number]
        and "|" in lines[number + 1]
        and _TABLE_LINE.fullmatch(lines[number + 1]) is not None
    )


def _end_of_table(lines: list[str], number: int) -> int:
    while number < len(lines) and "|" in lines[number]:
        number += 1
    return number


def _line(line: str) -> str:
    if _RULE.fullmatch(line):
        return escape(line)
    if heading := _HEADING.fullmatch(line):
        title = _inline(heading["title"])
        return title if not title or "*" in title else f"*{title}*"
    if quote := _QUOTE.fullmatch(line):
        return f"> {_line(quote['quoted'])}"
    if bullet := _BULLET.fullmatch(line):
        return f"{bullet['indent']}•{bullet['space']}{_inline(bullet['item'])}"
    return _inline(line)


def _inline(text: str) -> str:
    aside: list[str] = []

    def set_aside(found: re.Match[str]) -> str:
        aside.append(_link_or_code(found))
        return f"{_OPEN}{len(aside) - 1}{_CLOSE}"

    text = escape(_INLINE.sub(set_aside, text))
    text = _STRONG_EMPHASIS.sub(rf"{_STAR}_\1_{_STAR}", text)
    text = _STRONG.sub(lambda found: f"{_STAR}{found[1] or found[2]}{_STAR}", text)
    text = _EMPHASIS.sub(r"_\1_", text)
    text = _STRUCK.sub(r"~\1~", text).replace(_STAR, "*")
    return _SET_ASIDE.sub(lambda found: aside[int(found[1])], text)


def _link_or_code(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return escape(found.group())
    if found["address"] is not None:
        return f"<{escape(found['address'])}>"
    target, label = escape(found["target"]), escape(found["label"])
    return f"<{target}|{label}>" if label.strip() else f"<{target}>"
