"""The prompt: what the model reads of a conversation. Pure.

Laws, proved in `tests/chat/test_history.py`: the system prompt comes first; then messages in the order of the window, the
first of them a user's; within the budget of tokens, unless the messages that are to be answered take more by themselves:
those are always there, whole. Where several people speak, each user's message names its speaker.
"""

import zlib
from collections.abc import Sequence

from bot.llm.protocol import PromptMessage, PromptRole
from store import Message, Role

SPEAKER_LENGTH = 80
"""Characters of a display name that the model sees: longer ones only cost tokens."""
MESSAGE_OVERHEAD = 4
"""Tokens that chat formats spend on a message besides its text."""

_ROLES = {Role.USER: PromptRole.USER, Role.ASSISTANT: PromptRole.ASSISTANT}


def estimate_tokens(text: str) -> int:
    """Estimate what `text` costs, rather too much than too little: three bytes of UTF-8 a token.

    English takes about four bytes a token, Chinese three, code three to four; no tokenizer fits every model.
    """
    return -(-len(text.encode()) // 3) + MESSAGE_OVERHEAD


def build_prompt(
    system: str, window: Sequence[Message], *, tokens: int, steady: bool = False, complete: bool = False
) -> list[PromptMessage]:
    """Build the prompt from the last messages of a conversation, oldest first, ending with those to be answered.

    `tokens` is the budget of the messages beside the system prompt. `steady`: where older messages have to go, a few more
    go with them, so that the prompt begins at the same message for several turns. `complete`: `window` is the whole
    conversation.
    """
    shared = len({message.author_id for message in window if message.role is Role.USER}) > 1
    spoken = [PromptMessage(role=_ROLES[message.role], text=_text(message, shared=shared)) for message in window]
    start = len(spoken)
    while start > 0 and spoken[start - 1].role is PromptRole.USER:
        start -= 1
    left = tokens - sum(estimate_tokens(message.text) for message in spoken[start:])
    while start > 0 and (left := left - estimate_tokens(spoken[start - 1].text)) >= 0:
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


def _text(message: Message, *, shared: bool) -> str:
    if not shared or message.role is Role.ASSISTANT:
        return message.text
    name = " ".join(message.author_name.split())[:SPEAKER_LENGTH].replace(":", "") or "Somebody"
    return f"{name}: {message.text}"
