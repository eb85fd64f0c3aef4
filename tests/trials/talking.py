"""People who go on talking while something happens to the bot."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random

from tests.trials.stages import Stage

PAUSE = timedelta(seconds=0.1)


class Talk:
    """What was said so far."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self._stage = stage
        self._rng = rng
        self._spoken = [0] * stage.places
        self._enough = threading.Event()

    @property
    def said(self) -> int:
        return sum(self._spoken)

    def go_on(self, pause: timedelta) -> None:
        """Say something in one place after the other, in random order, until it is `enough`."""
        while not self._enough.is_set():
            places = list(range(self._stage.places))
            self._rng.shuffle(places)
            for place in places:
                self._spoken[place] += 1
                self._stage.say(place, f"p{place}-{self._spoken[place]} are you still there?")
                if self._enough.wait(self._rng.uniform(0, 2 * pause.total_seconds())):
                    return

    def enough(self) -> None:
        self._enough.set()


@contextmanager
def talking(stage: Stage, rng: Random, *, pause: timedelta = PAUSE) -> Iterator[Talk]:
    """Let people talk while the body lasts, one of them every `pause` on average."""
    talk = Talk(stage, rng)
    thread = threading.Thread(target=talk.go_on, args=(pause,), name="people")
    thread.start()
    try:
        yield talk
    finally:
        talk.enough()
        thread.join()
