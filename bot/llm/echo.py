"""A model that is none: it says back what it was told, so that Parley can be tried without a key or a network."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from bot.llm.protocol import Delta, Finish, FinishReason, PromptMessage, PromptRole, Text, Usage

_WORD = re.compile(r"\s*\S+\s*")


class EchoModel:
    """Answers with the last user message, word by word, and says that it does no more."""

    name = "echo"

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return _stream(prompt)

    async def aclose(self) -> None:
        """There is nothing to give back."""


@asynccontextmanager
async def _stream(prompt: Sequence[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
    async with aclosing(_answer(prompt)) as deltas:
        yield deltas


async def _answer(prompt: Sequence[PromptMessage]) -> AsyncGenerator[Delta, None]:
    said = [message.text for message in prompt if message.role is PromptRole.USER]
    answer = f"You said: {said[-1]}" if said else "Nothing was said yet."
    words = _WORD.findall(answer)
    for word in words:
        yield Text(text=word)
    usage = Usage(prompt_tokens=sum(len(message.text.split()) for message in prompt), completion_tokens=len(words))
    yield Finish(reason=FinishReason.STOP, usage=usage, model=EchoModel.name)
