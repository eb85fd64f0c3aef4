"""OpenAI Agents SDK, `SQLiteSession`: one kept session a conversation, as its best case is.

A session opens a connection for each worker thread that it meets. They are opened before the timing, as far as chance meets
each thread, because a process that runs for long has them: thousands for 1,000 conversations.
"""

import asyncio
from typing import Any

from agents.memory.sqlite_session import SQLiteSession

from bench.peers import Peer, measure_peer, prepare_peer
from bench.workload import ANSWER, QUESTION, WINDOW, Job, Result

MEETINGS = 24
"""Reads with which a session meets the threads of asyncio's pool: 6 of them on two cores."""


def prepare(job: Job) -> None:
    """Fill by `add_items`."""
    prepare_peer(job, _Sessions)


def measure(job: Job) -> Result:
    """Time get_items(20), add_items([question]), add_items([answer])."""
    return measure_peer(job, _Sessions)


class _Sessions(Peer):
    setup = "WAL by itself; FULL set on every connection; connections open beforehand"

    async def open(self, job: Job, path: str) -> None:
        self._sessions: list[Any] = [SQLiteSession(f"C{number:07d}", path) for number in range(job.conversations)]
        if job.action == "measure":
            for session in self._sessions:
                await asyncio.gather(*(session.get_items(1) for _ in range(MEETINGS)))

    async def fill(self, job: Job) -> None:
        for session in self._sessions:
            await session.add_items([question(), answer()] * (job.messages // 2))

    async def turn(self, conversation: int) -> None:
        session = self._sessions[conversation]
        await session.get_items(WINDOW)
        await session.add_items([question()])
        await session.add_items([answer()])

    async def close(self) -> None:
        for session in self._sessions:
            session.close()


def question() -> Any:
    """Return a user's message as the SDK stores it."""
    return {"role": "user", "content": QUESTION}


def answer() -> Any:
    """Return a model's message as the SDK stores it."""
    return {"role": "assistant", "content": ANSWER}
