"""How a message of ours is told apart from the others once its id is lost.

Discord keeps no nonce with a message, so what is left is the nonce in its buttons, and what it shows.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from discord import MessageType

from bot.adapters.discord.custom_ids import nonce_of

NO_NONCE = "0"
"""Stands in the buttons of a message that was edited by a process that has not posted it: its id is known, nobody looks for
it any more."""

_WRITTEN = (MessageType.default.value, MessageType.reply.value)
"""The types of what we write; the rest is Discord's own, such as the note that we began a thread."""

Json = Any


def posted_with(messages: Iterable[Json], *, author: int, nonce: str, text: str, known: Mapping[str, str]) -> str | None:
    """Return the id of the author's message that was posted with `nonce`; `known` tells the nonces of messages, by id.

    A message whose nonce nothing tells is recognised by what it shows: exactly `text`, or one file of the text's size.
    """
    own = [message for message in messages if message["author"]["id"] == str(author) and message["type"] in _WRITTEN]
    nonces = {message["id"]: set(_nonces(message, known)) for message in own}
    named = (message["id"] for message in own if nonce in nonces[message["id"]])
    alike = (message["id"] for message in own if not nonces[message["id"]] and _shows(message, text))
    found = next(named, None) or next(alike, None)
    return None if found is None else str(found)


def _nonces(message: Json, known: Mapping[str, str]) -> Iterator[str]:
    if message["id"] in known:
        yield known[message["id"]]
    for row in message.get("components", ()):
        for component in row.get("components", ()):
            nonce = nonce_of(component.get("custom_id", ""))
            if nonce not in (None, NO_NONCE):
                yield str(nonce)


def _shows(message: Json, text: str) -> bool:
    shown = message["content"].strip()  # Discord strips what it is given
    if shown:
        return bool(shown == text.strip())
    return [file["size"] for file in message["attachments"]] == [len(text.encode())]
