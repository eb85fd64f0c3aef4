"""Discord as a trial's stage."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Self

from tests.fakes.discord import Channel, FakeDiscordThread, Message, User
from tests.fakes.discord.faults import Fault
from tests.trials.stages import PATIENCE, Call, Way

SHARDS = 2
"""Between two sessions that begin Parley waits 5 s, as Discord asks for."""


class DiscordStage:
    """Discord with two shards, or one. The places are channels of two guilds, one of each shard."""

    name = "Discord"

    def __init__(
        self, places: int, *, together: int = 0, shards: int = SHARDS, threads: bool = False, sessions: int = 1000
    ) -> None:
        """On Discord each channel has a pace of its own, so nothing hangs on how many of them are `together`. With `threads`
        every other pair of places is threads. `sessions` is how many a bot may begin in a day."""
        self._count = places
        self._shards = shards
        self._threads = threads
        self._sessions = sessions
        self._stack = ExitStack()
        self._places: list[tuple[User, Channel]] = []
        self._last: dict[int, Message] = {}
        """What was said last in each place."""
        self._lost: list[Fault] = []

    def __enter__(self) -> Self:
        self._discord = self._stack.enter_context(FakeDiscordThread(shards=self._shards, identify_quota=self._sessions))
        guilds = [
            self._discord.do(self._discord.guild, f"Guild {number}", id=(100 + number) << 22) for number in range(SHARDS)
        ]
        for number in range(self._count):
            person = self._discord.do(self._discord.user, f"person{number}")
            channel = self._discord.do(guilds[number % SHARDS].channel, f"channel{number}")
            if self._threads and number % 4 > 1:
                channel = self._discord.do(channel.open_thread, f"thread{number}", owner=person)
            self._places.append((person, channel))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        return {
            "DISCORD_TOKEN": self._discord.token,
            "DISCORD_API_BASE_URL": self._discord.api_url,
            "DISCORD_GATEWAY_URL": self._discord.gateway_url,
        }

    @property
    def places(self) -> int:
        return self._count

    async def prepare(self, url: str) -> None:
        """Discord has one token for everything."""

    def say(self, place: int, text: str) -> None:
        person, channel = self._places[place]
        self._last[place] = self._discord.do(person.say, channel, f"{self._discord.bot.mention} {text}")

    def copies(self, number: int) -> None:
        self._discord.copies = number

    def again(self, place: int, number: int) -> None:
        self._discord.do(self._discord.deliver_again, self._last[place], number)

    def lose(self, place: int, call: Call, way: Way, *, times: int = 1) -> None:
        channel = self._places[place][1].id
        method, path = ("PATCH", "/messages/*") if call is Call.EDIT else ("POST", "/messages")
        if call is Call.OVERFLOW:
            self._discord.fail(method, f"/channels/{channel}{path}", status=0)  # the first part goes through
        status, after = (502 if way is Way.FAILED else None), way is not Way.BEFORE
        self._lost.append(self._discord.fail(method, f"/channels/{channel}{path}", status=status, after=after, times=times))

    def losses(self) -> int:
        return sum(fault.hits > 0 for fault in self._lost)

    def make_wait(self, place: int, seconds: int, *, edits: bool = False) -> None:
        channel = self._places[place][1].id
        body = {"message": "You are being rate limited.", "retry_after": float(seconds), "global": False}
        method, path = ("PATCH", f"/channels/{channel}/messages/*") if edits else ("POST", f"/channels/{channel}/messages")
        self._discord.fail(method, path, status=429, body=body)

    def trouble(self, rng: Random) -> None:
        method, path = rng.choice((("POST", "/channels/*/messages"), ("PATCH", "/channels/*/messages/*")))
        self._discord.do(self._spare)
        match rng.choice(("refused", "too many", "cut", "answer lost")):
            case "refused":
                self._discord.fail(method, path, status=rng.choice((500, 502, 503)))
            case "too many":
                self._discord.fail(method, path, status=429)
            case "cut":
                self._discord.fail(method, path, status=None)
            case _:
                self._discord.fail(method, path, status=None, after=True)

    def cut(self, rng: Random) -> None:
        self._discord.do(self._discord.drop, rng.choice((4000, None)))

    def _spare(self) -> None:
        """Take back what nobody has met yet: while the bot calls seldom, all of it would wait for its next calls."""
        faults = self._discord.fake.faults.scripted
        faults[:] = [fault for fault in faults if not fault.hits][-1:]

    def forget(self) -> None:
        self._discord.do(self._forget)

    def _forget(self) -> None:
        self._discord.requests.clear()
        self._discord.refused.clear()

    def heard(self) -> bool:
        return {session.shard[0] for session in self._discord.gateway.connected} == set(range(self._shards))

    def overlaps(self) -> bool:
        return len(self._discord.gateway.connected) > self._shards

    def quiet(self) -> bool:
        """What a session has been sent is in the bot's hands."""
        return True

    def said(self, place: int) -> list[str]:
        person, channel = self._places[place]
        mention = f"{self._discord.bot.mention} "
        return [message.content.removeprefix(mention) for message in channel.messages if message.author is person]

    def shown(self, place: int) -> list[str]:
        return [message.text.split("\n")[0] for message in self._answers(place)]

    def waits(self) -> list[float]:
        waits = []
        for place, (person, channel) in enumerate(self._places):
            answered = [message.sent_at for message in self._answers(place)]
            for message in channel.messages:
                if message.author is person:
                    waits += [(at - message.sent_at).total_seconds() for at in answered if at >= message.sent_at][:1]
        return waits

    def writes(self) -> int:
        requests = list(self._discord.requests)
        return sum(request.method in ("POST", "PATCH") and "/messages" in request.path for request in requests)

    def refused(self) -> int:
        return len(self._discord.refused)

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        self._discord.until(holds, within=within)

    def _answers(self, place: int) -> list[Message]:
        _, channel = self._places[place]
        return [message for message in channel.messages if message.author.id == self._discord.bot.id]
