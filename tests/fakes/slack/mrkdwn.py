"""Slack's text: what it escapes, what it links, whom it mentions and what it would preview."""

import re
from collections.abc import Callable

_TOKEN = re.compile(r"<(?:@[UW][A-Z0-9]+|#[CGD][A-Z0-9]+|![a-z]+(?:\^[^<>]*)?|(?:https?|mailto):[^<>\s|]+)(?:\|[^<>]*)?>")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt);)")
_URL = re.compile(r"(?<![<|\w])https?://(?:[^\s<>|&]|&amp;)*[^\s<>|&.,;:!?)]")
_LINK = re.compile(r"<(https?://[^|>]+)")
_MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_GROUP = re.compile(r"<!subteam\^(S[A-Z0-9]+)")
_BROADCAST = re.compile(r"<!(channel|here|everyone)(?:\|[^>]*)?>")
_PLAIN_BROADCAST = re.compile(r"(?<!\w)@(channel|here|everyone)\b")


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def typed(text: str) -> str:
    """What Slack makes of what a person types; tokens like `<@U1>` stand for what its composer puts in."""
    return _around_tokens(text, lambda between: link(escape(between)))


def sent(text: str) -> str:
    """What Slack makes of a bot's text: only what is no token and no entity is escaped."""
    return _around_tokens(
        text, lambda between: link(_ENTITY.sub("&amp;", between).replace("<", "&lt;").replace(">", "&gt;"))
    )


def link(text: str) -> str:
    return _URL.sub(lambda match: f"<{match.group()}>", text)


def urls(text: str) -> list[str]:
    """List what is a link in a text as people see it, whether it is written as a token or not."""
    return _LINK.findall(text) + _URL.findall(text)


def users(text: str) -> list[str]:
    return _MENTION.findall(text)


def groups(text: str) -> list[str]:
    return _GROUP.findall(text)


def broadcasts(text: str, *, plain: bool = False) -> bool:
    """Whether the text calls everyone; `plain` is when `@channel` counts too (`link_names`, `parse: full`)."""
    return bool(_BROADCAST.search(text) or (plain and _PLAIN_BROADCAST.search(text)))


def _around_tokens(text: str, change: Callable[[str], str]) -> str:
    pieces, end = [], 0
    for token in _TOKEN.finditer(text):
        pieces += [change(text[end : token.start()]), token.group()]
        end = token.end()
    return "".join([*pieces, change(text[end:])])
