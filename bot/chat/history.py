"""The prompt: what the model reads of a conversation. Pure.

Laws, proved in `tests/chat/test_history.py`: the system prompt comes first; then messages in the order of the window, the
first of them a user's; within the budget of tokens, unless the messages that are to be answered take more by themselves:
those are always there, whole. Where several people speak, each user's message names its speaker.

Files stand below the text that they came with (`bot.chat.prompt_files`).
"""

import zlib
from collections.abc import Sequence

from bot.chat.prompt_files import PromptFile, files_of
from bot.chat.tokens import cost_of
from bot.llm.protocol import PromptMessage, PromptRole
from store import Message, Role

SPEAKER_LENGTH = 80
"""Characters of a display name that the model sees: longer ones only cost tokens."""
NO_TEXT = "[no text]"
"""What stands for a message without anything: no model takes an empty one."""

_ROLES = {Role.USER: PromptRole.USER, Role.ASSISTANT: PromptRole.ASSISTANT}


def build_prompt(
    system: str,
    window: Sequence[Message],
    *,
    tokens: int,
    steady: bool = False,
    complete: bool = False,
    sees_images: bool = False,
) -> list[PromptMessage]:
    """Build the prompt from the last messages of a conversation, oldest first, ending with those to be answered.

    `tokens` is the budget of the messages beside the system prompt. `steady`: where older messages have to go, a few more
    go with them, so that the prompt begins at the same message for several turns. `complete`: `window` is the whole
    conversation. `sees_images`: the model can be shown pictures.
    """
    shared = len({message.author_id for message in window if message.role is Role.USER}) > 1
    spoken = [
        _spoken(message, files, shared=shared)
        for message, files in zip(window, files_of(window, tokens=tokens, sees_images=sees_images), strict=True)
    ]
    start = len(spoken)
    while start > 0 and spoken[start - 1].role is PromptRole.USER:
        start -= 1
    left = tokens - sum(cost_of(message) for message in spoken[start:])
    while start > 0 and (left := left - cost_of(spoken[start - 1])) >= 0:
        start -= 1
    while start < len(spoken) and spoken[start].role is PromptRole.ASSISTANT:
        start += 1
    if steady and (start > 0 or not complete):
        start = _steady(window, start)
    head = [PromptMessage(role=PromptRole.SYSTEM, text=system)] if system else []
    return head + spoken[start:]


def _steady(window: Sequence[Message], start: int) -> int:
    """Choose the user's message to begin with among those of the older half from `start` on.

    A model on a CPU reads everything again behind a beginning that moved: 12 s for 1,250 tokens on two cores. The choice
    goes by a number that is drawn from each message, so it stays the same until the window has slid past it.
    """
    older = range(start, start + (len(window) - start) // 2)
    users = [index for index in older if window[index].role is Role.USER]
    return min(users, key=lambda index: zlib.crc32(str(window[index].position).encode()), default=start)


def _spoken(message: Message, files: Sequence[PromptFile], *, shared: bool) -> PromptMessage:
    parts = (_text(message, shared=shared), *(file.text for file in files))
    return PromptMessage(
        role=_ROLES[message.role],
        text="\n\n".join(part for part in parts if part) or NO_TEXT,
        images=tuple(file.image for file in files if file.image is not None),
    )


def _text(message: Message, *, shared: bool) -> str:
    if not shared or message.role is Role.ASSISTANT:
        return message.text
    name = " ".join(message.author_name.split())[:SPEAKER_LENGTH].replace(":", "") or "Somebody"
    return f"{name}: {message.text}"
