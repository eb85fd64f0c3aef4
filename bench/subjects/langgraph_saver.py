"""LangGraph, `AsyncSqliteSaver`, driven through its own methods without a graph: one get and two puts a turn.

That is the least with which it keeps a turn. With the option `graph` it gets the calls that a compiled graph of one node
makes for a turn: one get; a checkpoint of the input, one after the start, one after the node; the writes of the start and of
the node. Each conversation is filled with one checkpoint of 20 messages, a part of what it would keep.
"""

import itertools
from contextlib import AsyncExitStack
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bench.peers import Peer, measure_peer, prepare_peer
from bench.workload import ANSWER, QUESTION, WINDOW, Job, Result


def prepare(job: Job) -> None:
    """Put one checkpoint for every conversation."""
    prepare_peer(job, _Saver)


def measure(job: Job) -> Result:
    """Time aget_tuple, aput with the question, aput with the answer; or what a graph calls."""
    return measure_peer(job, _Graph if job.options.get("graph") else _Saver)


class _Saver(Peer):
    setup = "WAL by itself; FULL set on its connection"

    async def open(self, job: Job, path: str) -> None:
        self._stack = AsyncExitStack()
        self._saver = await self._stack.enter_async_context(AsyncSqliteSaver.from_conn_string(path))
        await self._saver.setup()
        self._steps = itertools.count(1)

    async def fill(self, job: Job) -> None:
        for number in range(job.conversations):
            messages = [_question(), _answer()] * (job.messages // 2)
            await self._put(_config(number), messages)

    async def turn(self, conversation: int) -> None:
        config = _config(conversation)
        found = await self._saver.aget_tuple(config)
        assert found is not None
        messages = found.checkpoint["channel_values"]["messages"]
        _ = messages[-WINDOW:]
        messages = [*messages, _question()]
        after = await self._put(found.config, messages)
        await self._put(after, [*messages, _answer()])

    async def close(self) -> None:
        await self._stack.aclose()

    async def _put(self, config: Any, messages: list[Any]) -> Any:
        step = next(self._steps)
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": messages}
        checkpoint["channel_versions"] = {"messages": step}
        return await self._saver.aput(config, checkpoint, {"source": "loop", "step": step}, {"messages": step})


class _Graph(_Saver):
    async def turn(self, conversation: int) -> None:
        found = await self._saver.aget_tuple(_config(conversation))
        assert found is not None
        messages = found.checkpoint["channel_values"]["messages"]
        _ = messages[-WINDOW:]
        config = await self._put(found.config, messages)
        await self._saver.aput_writes(config, [("messages", [_question()]), ("branch:to:node", None)], f"s{conversation}")
        messages = [*messages, _question()]
        config = await self._put(config, messages)
        await self._saver.aput_writes(config, [("messages", [_answer()])], f"n{conversation}")
        await self._put(config, [*messages, _answer()])


def _config(number: int) -> Any:
    return {"configurable": {"thread_id": f"C{number:07d}", "checkpoint_ns": ""}}


def _question() -> dict[str, str]:
    return {"role": "user", "content": QUESTION}


def _answer() -> dict[str, str]:
    return {"role": "assistant", "content": ANSWER}
