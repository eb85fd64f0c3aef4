"""How people's files stand in a prompt: texts fenced and trimmed, pictures for models that see, the rest named. Pure.

Laws, proved in `tests/chat/test_prompt_files.py`: what the texts of a question hold takes at most half of the budget, and
fits beside the question; a question is what users say between two answers. Whatever the model does not get is named to it,
and to people by `remarks`.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.chat import words
from bot.chat.attachments import (
    Excerpt,
    Kind,
    clean_name,
    decode,
    excerpt,
    fair_shares,
    fenced,
    kind_of,
    picture_type,
)
from bot.chat.tokens import BYTES_PER_TOKEN, estimate_tokens
from bot.llm.protocol import Image
from store import Attachment, Message

PICTURES = 4
"""Pictures that one prompt holds: each costs as much as a page or two of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A file as it stands in a prompt. `remark` says to people what is missing of it, "" when nothing is."""

    text: str
    image: Image | None = None
    remark: str = ""


def remarks(window: Sequence[Message], *, turn_id: int, tokens: int, sees_images: bool) -> list[str]:
    """Tell people what of the files that came with a turn's messages the model did not get, in a few words each."""
    told = zip(window, files_of(window, tokens=tokens, sees_images=sees_images), strict=True)
    return [file.remark for message, files in told if message.turn_id == turn_id for file in files if file.remark]


def files_of(window: Sequence[Message], *, tokens: int, sees_images: bool) -> Iterator[list[PromptFile]]:
    """Say for each message of the window how its files stand in the prompt."""
    pictures = _newest_pictures(window) if sees_images else set()
    for _, together in itertools.groupby(window, key=lambda message: message.role):
        question = list(together)
        excerpts = _excerpts(question, tokens)
        for message in question:
            files = []
            for file in message.attachments:
                name = (message.id, file.number)
                if name in excerpts:
                    files.append(_text_file(file, excerpts[name]))
                elif kind_of(file.name, file.media_type) is Kind.PICTURE:
                    files.append(_picture(file, chosen=name in pictures, sees_images=sees_images))
                else:
                    files.append(_unreadable(file))
            yield files


def _excerpts(question: Sequence[Message], tokens: int) -> dict[tuple[int, int], Excerpt]:
    """Take of each text what has room."""
    texts = [
        (message.id, file, text)
        for message in question
        for file in message.attachments
        if (text := _text_of(file)) is not None
    ]
    room = min(tokens // 2, tokens - sum(estimate_tokens(message.text) for message in question))
    shares = fair_shares([len(text.encode()) for _, _, text in texts], BYTES_PER_TOKEN * room)
    return {
        (message_id, file.number): excerpt(text, room=share, size=file.size, whole=_whole(file))
        for (message_id, file, text), share in zip(texts, shares, strict=True)
    }


def _whole(file: Attachment) -> bool:
    return file.data is not None and len(file.data) >= file.size


def _newest_pictures(window: Sequence[Message]) -> set[tuple[int, int]]:
    newest_first = (
        (message.id, file.number)
        for message in reversed(window)
        for file in reversed(message.attachments)
        if _image_of(file) is not None
    )
    return set(itertools.islice(newest_first, PICTURES))


def _text_of(file: Attachment) -> str | None:
    if file.data is None or kind_of(file.name, file.media_type) is not Kind.TEXT:
        return None
    return decode(file.data, whole=_whole(file))


def _image_of(file: Attachment) -> Image | None:
    if file.data is None or kind_of(file.name, file.media_type) is not Kind.PICTURE:
        return None
    media_type = picture_type(file.data)
    return None if media_type is None else Image(media_type=media_type, data=file.data)


def _text_file(file: Attachment, part: Excerpt) -> PromptFile:
    name = clean_name(file.name)
    return PromptFile(text=fenced(name, part), remark=words.trimmed(name, part.extent) if part.extent else "")


def _picture(file: Attachment, *, chosen: bool, sees_images: bool) -> PromptFile:
    name = clean_name(file.name)
    if not sees_images:
        return PromptFile(
            text=f'[The picture "{name}" can\'t be seen by this model.]', remark=words.unseen(name, words.BLIND)
        )
    image = _image_of(file)
    if image is None:
        reason = file.problem or words.NOT_READ
        return PromptFile(text=f'[The picture "{name}" can\'t be seen: {reason}.]', remark=words.unseen(name, reason))
    if not chosen:
        text = f'[The picture "{name}" is left out here: only the newest {PICTURES} are shown.]'
        return PromptFile(text=text, remark=words.unseen(name, words.TOO_MANY_PICTURES))
    return PromptFile(text=f'[The picture "{name}" is shown.]', image=image)


def _unreadable(file: Attachment) -> PromptFile:
    name, reason = clean_name(file.name), file.problem or words.NOT_READ
    return PromptFile(text=f'[The file "{name}" can\'t be read here: {reason}.]', remark=words.unreadable(name, reason))
