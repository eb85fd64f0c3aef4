"""How a message of ours is told apart from the others once its id is lost: by its metadata, its buttons, its file's name, or
by what it shows (pure).

A streamed message has no metadata until its end. The one that we look for is then the unfinished one: parts of an answer
are recorded one after the other, each before the next is posted, so at most one of them is unknown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bot.adapters.slack.action_ids import NO_NONCE, nonces_in
from bot.adapters.slack.blocks import notice
from bot.adapters.slack.clients import Me

EVENT_TYPE = "parley_part"
_WORD = re.compile(r"[^\W_]+")

Json = Any


def metadata(nonce: str) -> dict[str, Json]:
    """Write the metadata of a message; every app in the workspace can read it, so there is nothing else in it."""
    return {"event_type": EVENT_TYPE, "event_payload": {"nonce": nonce}}


def file_name(name: str, nonce: str) -> str:
    """Put a nonce into the name of a file: a file's message takes no metadata."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}.{nonce}.{ending}" if dot else f"{name}.{nonce}"


def is_ours(message: Json, me: Me) -> bool:
    """The bot wrote it."""
    return message.get("user") == me.user_id or bool(me.bot_id and message.get("bot_id") == me.bot_id)


def posted_with(messages: Iterable[Json], *, me: Me, nonce: str, text: str, known: Mapping[str, str]) -> str | None:
    """Return the ts of the bot's message that was posted with `nonce`; `known` tells the nonces of messages, by ts.

    A message whose nonce nothing tells is recognised by its stream, or by the words of `text`.
    """
    own = [message for message in messages if is_ours(message, me) and message.get("subtype") != "tombstone"]
    nonces = {message["ts"]: set(_nonces(message, known)) for message in own}
    named = (message["ts"] for message in own if nonce in nonces[message["ts"]])
    alike = (
        message["ts"] for message in own if not nonces[message["ts"]] and (_unfinished(message) or _says(message, text))
    )
    found = next(named, None) or next(alike, None)
    return None if found is None else str(found)


def _nonces(message: Json, known: Mapping[str, str]) -> Iterator[str]:
    """List what is known; NO_NONCE is known too, namely as another's."""
    if message["ts"] in known:
        yield known[message["ts"]]
    noted = message.get("metadata") or {}
    if noted.get("event_type") == EVENT_TYPE:
        yield str(noted.get("event_payload", {}).get("nonce", NO_NONCE))
    yield from nonces_in(message.get("blocks") or ())
    for file in message.get("files") or ():
        yield from str(file.get("name", "")).split(".")[1:]


def _unfinished(message: Json) -> bool:
    return message.get("streaming_state") is not None


def _says(message: Json, text: str) -> bool:
    """The same words, whatever Slack made of the signs between them."""
    words = _WORD.findall(notice(text))
    return bool(words) and _WORD.findall(str(message.get("text", ""))) == words
