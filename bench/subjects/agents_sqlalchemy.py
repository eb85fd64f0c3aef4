"""OpenAI Agents SDK, `SQLAlchemySession` on sqlite+aiosqlite: one engine, one kept session a conversation."""

from typing import Any

from agents.extensions.memory.sqlalchemy_session import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from bench.peers import Peer, measure_peer, prepare_peer
from bench.subjects.agents_sqlite import answer, question
from bench.workload import WINDOW, Job, Result


def prepare(job: Job) -> None:
    """Fill by `add_items`."""
    prepare_peer(job, _Sessions)


def measure(job: Job) -> Result:
    """Time get_items(20), add_items([question]), add_items([answer])."""
    return measure_peer(job, _Sessions)


class _Sessions(Peer):
    setup = "WAL by itself; FULL set on every connection; default pool"

    async def open(self, job: Job, path: str) -> None:
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        # Only the first one makes the tables: the others needn't look.
        self._sessions: list[Any] = [
            SQLAlchemySession(f"C{number:07d}", engine=self._engine, create_tables=number == 0)
            for number in range(job.conversations)
        ]
        await self._sessions[0].get_items(1)

    async def fill(self, job: Job) -> None:
        for session in self._sessions:
            await session.add_items([question(), answer()] * (job.messages // 2))

    async def turn(self, conversation: int) -> None:
        session = self._sessions[conversation]
        await session.get_items(WINDOW)
        await session.add_items([question()])
        await session.add_items([answer()])

    async def close(self) -> None:
        await self._engine.dispose()
