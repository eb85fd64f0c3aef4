"""The shards of the gateway that this replica hears: its share of all of them, as the store spreads them over the replicas.

One replica alone has them all. Where another gives one up in good order, its session goes on until ours on the same shard
hears: Discord allows two, and what both hear is stored once. A shard whose holder died is heard again once its lease is
over, and the catch-up reads what was missed. Who hears nothing for long gives up what others can hear. While the store is
away every session stays as it is.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.client import ParleyClient
from bot.adapters.discord.connection import stay_connected
from bot.adapters.discord.session_starts import PACE
from bot.adapters.discord.shard import Shard
from bot.adapters.discord.watermarks import Watermarks
from bot.clock import Clock, time_limit
from store import Share, Store, StoreError

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=20)
"""How long a shard waits for a replica that is silent. A session takes 5 s and more to begin, and Discord grants 1000 a day:
who was only slow for a moment keeps theirs."""
ASK_EVERY = timedelta(seconds=3)
HURRY = timedelta(seconds=1)
"""That while shards change hands."""
STORE_PAUSE = timedelta(seconds=5)
DEAF = timedelta(minutes=1)
"""How long a replica may hear nothing of all that is its own, beside the time that its sessions wait for their turns to
begin: then those come first who can hear it."""

MakeClient = Callable[[Shard, Callable[[], None]], ParleyClient]
"""Makes a client for a shard, which calls the function whenever it has come up."""


@dataclass(slots=True)
class _Session:
    """One shard that is heard here, or is about to be."""

    task: asyncio.Task[None]
    heard_at: timedelta
    """When it was last seen to be up, or was begun, by the stopwatch."""
    client: ParleyClient | None = None
    settled: bool = False
    """It is ours, and its marks were read since nobody else writes them."""

    @property
    def up(self) -> bool:
        return self.client is not None and self.client.up and not self.client.is_closed()


class Shards:
    """Holds a session on each shard that is this replica's, or is offered to it."""

    def __init__(
        self,
        store: Store,
        marks: Watermarks,
        catch_up: CatchUp,
        make_client: MakeClient,
        clock: Clock,
        rng: random.Random,
        *,
        token: str,
        name: str,
        replica: str,
        parts: int,
    ) -> None:
        """`name` is what the replicas of one bot share, `replica` this one's own name.

        `parts` is how many shards Discord wants; while other replicas are there, the number that they began with counts.
        """
        self._store = store
        self._marks = marks
        self._catch_up = catch_up
        self._make_client = make_client
        self._clock = clock
        self._rng = rng
        self._token = token
        self._name = name
        self._replica = replica
        self._parts = parts
        self._share: Share | None = None
        self._sessions: dict[Shard, _Session] = {}
        self._asking = asyncio.Lock()
        self._news = asyncio.Event()
        """Set when the store is to be asked at once."""
        self._answered = asyncio.Event()
        """Set, and replaced, whenever it was asked."""
        self._leaving = False
        self._left = False
        self._away = False
        self._deaf = False

    @property
    def shared(self) -> bool:
        """Other replicas are there, which take what this one gives up."""
        return self._share is not None and self._share.others > 0

    @property
    def ready(self) -> bool:
        """All that is this replica's is heard; one that stands by has nothing to hear."""
        return self._share is not None and all(self._is_up(number) for number in self._share.held)

    @property
    def held(self) -> int:
        """How many shards are this replica's."""
        return len(self._share.held) if self._share is not None else 0

    @property
    def guilds(self) -> int:
        """How many servers are heard here."""
        return sum(len(session.client.guilds) for session in self._sessions.values() if session.client and session.up)

    async def run(self) -> None:
        """Hear what is this replica's until cancelled, and close every session then.

        Raises:
            PlatformRefused: as `stay_connected`.
        """
        try:
            while True:
                await self._ask()
                self._answered.set()
                self._answered = asyncio.Event()
                with suppress(TimeoutError):
                    async with time_limit(self._clock, HURRY if self._changing else ASK_EVERY):
                        await self._news.wait()
                self._news.clear()
                for session in self._sessions.values():
                    if session.task.done():
                        session.task.result()
        finally:
            await self._close(*self._sessions)

    async def hand_over(self) -> None:
        """Give everything up, and return when other replicas hear it all, or none of them is there.

        Cancelled, what was not handed over is still heard here; nothing new is taken.
        """
        self._leaving = True
        self._news.set()
        while self.shared and self.held and not self._left:
            await self._answered.wait()

    async def leave(self) -> None:
        """Have no share any more: other replicas take what is left. The sessions stay, and end with `run`."""
        async with self._asking:
            if self._left:
                return
            self._left = True
            self._answered.set()  # whoever waits for others to take it waits in vain from now on
            with suppress(StoreError):  # then they take it when the lease is over
                await self._store.leave(self._name, replica=self._replica)

    @property
    def _changing(self) -> bool:
        return self._share is not None and (self._leaving or bool(self._share.offered))

    async def _ask(self) -> None:
        async with self._asking:
            if self._left:
                return
            up = [shard.number for shard, session in self._sessions.items() if session.up and shard.count == self._parts]
            self._listen()
            try:
                share = await self._store.share(
                    self._name,
                    replica=self._replica,
                    parts=self._parts,
                    ready=up,
                    leaving=self._leaving or (self._deaf and self.shared),
                    lasting=LEASE,
                )
                await self._obey(share)
            except StoreError as exc:
                if not self._away:  # once in an outage: it is asked every few seconds
                    log.warning("discord.waiting", reason=str(exc), seconds=ASK_EVERY.total_seconds())
                self._away = True
            else:
                self._away = False

    def _listen(self) -> None:
        """Find out whether nothing of all that is ours was heard for long, though the store was there: who was cut off from
        everything, or everybody, has that time to hear again."""
        now = self._clock.monotonic()
        for session in self._sessions.values():
            if session.up or self._away:
                session.heard_at = now
        ours = [session for shard, session in self._sessions.items() if self._share and shard.number in self._share.held]
        patience = DEAF + 2 * self._parts * PACE
        deaf = bool(ours) and all(now - session.heard_at >= patience for session in ours)
        if deaf and not self._deaf:
            log.warning("discord.deaf", seconds=patience.total_seconds(), reason="others may take what is not heard here")
        self._deaf = deaf

    async def _obey(self, share: Share) -> None:
        if share != self._share:
            log.info("discord.shards", held=sorted(share.held), offered=sorted(share.offered), others=share.others)
        self._share, self._parts = share, share.parts
        ours = {Shard(number, share.parts) for number in share.held}
        offered = {Shard(number, share.parts) for number in share.offered}
        for shard in self._sessions.keys() - ours - offered:
            await self._let_go(shard)
        for shard in sorted((ours | offered) - self._sessions.keys()):
            self._begin(shard)
        for shard in ours:
            if self._sessions[shard].up and not self._sessions[shard].settled:
                # Its former holder may have begun to follow places since we looked.
                await self._marks.take_over(shard)
                self._sessions[shard].settled = True

    def _begin(self, shard: Shard) -> None:
        task = asyncio.create_task(self._hear(shard), name=f"discord.shard.{shard.number}")
        task.add_done_callback(lambda _: self._news.set())
        self._sessions[shard] = _Session(task, self._clock.monotonic())

    async def _hear(self, shard: Shard) -> None:
        await self._take_over(shard)

        def make_client() -> ParleyClient:
            session = self._sessions[shard]
            session.client = self._make_client(shard, self._news.set)
            return session.client

        await stay_connected(self._token, make_client, self._clock, self._rng)

    async def _take_over(self, shard: Shard) -> None:
        while True:
            try:
                return await self._marks.take_over(shard)
            except StoreError as exc:
                log.warning("discord.waiting", reason=str(exc), seconds=STORE_PAUSE.total_seconds())
            await self._clock.sleep(STORE_PAUSE)

    async def _let_go(self, shard: Shard) -> None:
        await self._close(shard)
        await self._catch_up.let_go(shard)
        await self._marks.let_go(shard)
        log.info("discord.let_go", shard=shard.number)

    async def _close(self, *shards: Shard) -> None:
        ending = [self._sessions[shard].task for shard in shards]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for shard in shards:
            del self._sessions[shard]

    def _is_up(self, number: int) -> bool:
        session = self._sessions.get(Shard(number, self._parts))
        return session is not None and session.up
