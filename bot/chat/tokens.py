"""What a prompt costs in tokens, estimated, rather too much than too little: no tokenizer fits every model. Pure."""

from collections.abc import Sequence

from bot.llm.protocol import PromptMessage

BYTES_PER_TOKEN = 3
"""Bytes of UTF-8. English takes about four a token, Chinese three, code three to four."""
MESSAGE_OVERHEAD = 4
"""Tokens that chat formats spend on a message besides its text."""
PICTURE_TOKENS = 1000
"""What a picture costs: providers count 85 to 1,600 tokens, by its size."""


def estimate_tokens(text: str) -> int:
    """Estimate what a message with `text` costs."""
    return text_tokens(len(text.encode())) + MESSAGE_OVERHEAD


def text_tokens(size: int) -> int:
    """Estimate what `size` bytes of UTF-8 take."""
    return -(-size // BYTES_PER_TOKEN)


def cost_of(message: PromptMessage) -> int:
    """Estimate what a message costs with its pictures."""
    return estimate_tokens(message.text) + PICTURE_TOKENS * len(message.images)


def prompt_tokens(prompt: Sequence[PromptMessage]) -> int:
    """Estimate what a whole prompt costs."""
    return sum(map(cost_of, prompt))
