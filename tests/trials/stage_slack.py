"""Slack as a trial's stage."""

import time
from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Self

from tests.fakes.slack import Channel, FakeSlackThread, Message, User
from tests.fakes.slack.api import Request
from tests.fakes.slack.faults import Fault
from tests.trials.on_platforms import OnManyTeams
from tests.trials.stages import Call, Way

FIRST = "What I had to say yesterday:"
"""What begins the thread of a direct message; the bot never hears of it."""

_METHODS = {
    Call.FIRST: "chat.postMessage",
    Call.OVERFLOW: "chat.postMessage",
    Call.EDIT: "chat.update",
    Call.START: "chat.startStream",
    Call.APPEND: "chat.appendStream",
    Call.STOP: "chat.stopStream",
}


class SlackStage(OnManyTeams):
    """Slack in Socket Mode. The places are threads of one channel and direct messages in turn, a few in each workspace: a
    workspace has a pace of its own, and many conversations would only wait for it."""

    def __init__(
        self, places: int, *, together: int = 2, threads: bool = False, limits: Mapping[str, int] | None = None
    ) -> None:
        """With `threads` every direct message stands in a thread, where answers are streamed. `limits` of calls a minute
        take the place of Slack's own."""
        # Slack delivers again at once, after a minute and after five; here every second, as long as an outage may last.
        super().__init__(FakeSlackThread(retry_after=[timedelta(seconds=1)] * 120, limits=limits))
        self._count = places
        self._together = together
        self._threads = threads
        self._places: list[tuple[User, Channel, str]] = []
        self._roots: dict[int, Message] = {}
        """The first message of each thread, by place."""
        self._last: dict[int, Message] = {}
        """What was said last in each place."""
        self._lost: list[Fault] = []

    def __enter__(self) -> Self:
        super().__enter__()
        for number in range(self._count):
            if number % self._together == 0:
                team = self._slack.do(self._slack.team, f"Team {number}") if number else self._slack.workspace
                channel = self._slack.do(team.channel, f"channel{number}")
            person = self._slack.do(team.user, f"person{number}")
            if number % 2:
                dm = self._slack.do(team.dm, person)
                self._places.append((person, dm, ""))
                if self._threads:
                    self._roots[number] = self._slack.do(person.say, dm, FIRST, heard=False)
            else:
                self._places.append((person, channel, f"{team.bot.mention} "))
        return self

    @property
    def places(self) -> int:
        return self._count

    def say(self, place: int, text: str) -> None:
        person, channel, mention = self._places[place]
        said = self._last[place] = self._slack.do(person.say, channel, mention + text, thread=self._roots.get(place))
        if mention:
            self._roots.setdefault(place, said)

    def copies(self, number: int) -> None:
        self._slack.copies = number

    def again(self, place: int, number: int) -> None:
        self._slack.do(self._slack.deliver_again, self._last[place], number)

    def lose(self, place: int, call: Call, way: Way, *, times: int = 1) -> None:
        channel = self._places[place][1].id

        def here(request: Request) -> bool:
            return bool(request.body.get("channel") == channel)

        if call is Call.OVERFLOW:
            self._slack.fail(_METHODS[call], when=here)  # the first part goes through
        status, after = (502 if way is Way.FAILED else None), way is not Way.BEFORE
        lost = {"status": status, "cut": status is None, "after_effect": after, "times": times, "when": here}
        self._lost.append(self._slack.fail(_METHODS[call], **lost))

    def losses(self) -> int:
        return sum(fault.hits > 0 for fault in self._lost)

    def make_wait(self, place: int, seconds: int, *, edits: bool = False) -> None:
        channel = self._places[place][1].id
        method = "chat.update" if edits else "chat.postMessage"
        self._slack.fail(method, status=429, retry_after=seconds, when=lambda request: request.body["channel"] == channel)

    def trouble(self, rng: Random) -> None:
        self._slack.do(self._spare)
        match rng.choice(("refused", "too many", "cut", "answer lost")):
            case "refused":
                self._slack.fail("chat.*", status=rng.choice((500, 502, 503)))
            case "too many":
                self._slack.fail("chat.*", status=429)
            case "cut":
                self._slack.fail(rng.choice(("chat.*", "users.*", "assistant.*")), cut=True)
            case _:
                self._slack.fail("chat.*", cut=True, after_effect=True)

    def cut(self, rng: Random) -> None:
        self._slack.do(self._slack.drop_sockets)

    def _spare(self) -> None:
        """Take back what nobody has met yet: while the bot calls seldom, all of it would wait for its next calls."""
        faults = self._slack.fake.faults.scripted
        faults[:] = [fault for fault in faults if not fault.hits][-1:]

    def forget(self) -> None:
        self._slack.do(self._forget)

    def _forget(self) -> None:
        self._slack.requests.clear()
        self._slack.refused.clear()
        self._slack.deliveries[:] = [delivery for delivery in self._slack.deliveries if not delivery.done.is_set()]

    def overlaps(self) -> bool:
        return len(self._slack.sockets) > 1

    def said(self, place: int) -> list[str]:
        person, channel, mention = self._places[place]
        said = [message.text.removeprefix(mention) for message in channel.messages if message.author is person]
        return [text for text in said if text != FIRST]

    def shown(self, place: int) -> list[str]:
        return [message.shown.split("\n")[0] for message in self._answers(place)]

    def waits(self) -> list[float]:
        waits = []
        for place, (person, channel, _) in enumerate(self._places):
            answered = [message.posted for message in self._answers(place)]
            for message in channel.messages:
                if message.author is person:
                    waits += [(at - message.posted).total_seconds() for at in answered if at >= message.posted][:1]
        return waits

    def _answers(self, place: int) -> list[Message]:
        """What stands here, wherever in the channel; only the threads of others are none of this place's business."""
        _, channel, _ = self._places[place]
        others = {root.ts for number, root in self._roots.items() if number != place}
        return [message for message in channel.messages if message.author.bot_id and message.root_ts not in others]

    def finished(self, place: int) -> bool:
        """Everything said here has an answer, which was edited since it was posted."""
        return sum(bool(message.history) for message in self._answers(place)) >= len(self.said(place))

    def moments(self) -> list[tuple[str, float, float]]:
        """For each thing said that is answered: its text, when it was said, and when the bot last edited the answer, both in
        seconds of the monotonic clock."""
        wall = time.time() - time.monotonic()
        written = {
            (request.body["channel"], request.body["ts"]): request.at.timestamp() - wall
            for request in list(self._slack.requests)
            if request.method == "chat.update" and request.ok
        }
        found = []
        for place, (person, channel, mention) in enumerate(self._places):
            answers = iter(self._answers(place))
            for message in channel.messages:
                if message.author is person and (answer := next(answers, None)) is not None:
                    last = written.get((channel.id, answer.ts))
                    if last is not None:
                        found.append((message.text.removeprefix(mention), message.posted.total_seconds(), last))
        return found

    def writes(self) -> list[str]:
        requests = [request for request in list(self._slack.requests) if request.method.startswith("chat.")]
        return [f"{request.at:%T.%f} {request.method} {request.body}" for request in requests]

    def refused(self) -> int:
        return len(self._slack.refused)
