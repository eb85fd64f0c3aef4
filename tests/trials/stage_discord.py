"""Discord as a trial's stage."""

from random import Random
from typing import Self

from tests.fakes.discord import Channel, FakeDiscordThread, Message, User
from tests.fakes.discord.faults import Fault
from tests.trials.on_platforms import OnDiscord
from tests.trials.stages import Call, Way

SHARDS = 2
"""Between two sessions that begin Parley waits 5 s, as Discord asks for."""


class DiscordStage(OnDiscord):
    """Discord with two shards, or one. The places are channels of two guilds, one of each shard."""

    def __init__(
        self, places: int, *, together: int = 0, shards: int = SHARDS, threads: bool = False, sessions: int = 1000
    ) -> None:
        """On Discord each channel has a pace of its own, so nothing hangs on how many of them are `together`. With `threads`
        every other pair of places is threads. `sessions` is how many a bot may begin in a day."""
        super().__init__(FakeDiscordThread(shards=shards, identify_quota=sessions))
        self._count = places
        self._shards = shards
        self._threads = threads
        self._places: list[tuple[User, Channel]] = []
        self._last: dict[int, Message] = {}
        """What was said last in each place."""
        self._lost: list[Fault] = []

    def __enter__(self) -> Self:
        super().__enter__()
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

    @property
    def places(self) -> int:
        return self._count

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

    def writes(self) -> list[str]:
        requests = [
            request
            for request in list(self._discord.requests)
            if request.method in ("POST", "PATCH") and "/messages" in request.path
        ]
        return [f"{request.at:%T.%f} {request.method} {request.path} {request.body}" for request in requests]

    def refused(self) -> int:
        return len(self._discord.refused)

    def _answers(self, place: int) -> list[Message]:
        _, channel = self._places[place]
        return [message for message in channel.messages if message.author.id == self._discord.bot.id]
