"""A process of `parley run` as an operator has it: it may die, be stopped and be started anew, and is asked how it is."""

import json
import os
import signal
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from tests.e2e.bots import Bot
from tests.e2e.zygote import Life


class Replica:
    """One process, in all its lives."""

    def __init__(self, name: str, bot: Bot) -> None:
        self.name = name
        self._bot = bot
        self._starts = 0

    def start(self) -> None:
        self._bot.start()
        self._starts += 1

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        return self._bot.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._bot.kill()

    def pause(self) -> None:
        """SIGSTOP: it does not know that time goes on."""
        os.kill(self.life.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.life.pid, signal.SIGCONT)

    @property
    def life(self) -> Life:
        """The last of its lives."""
        assert self._bot.life is not None
        return self._bot.life

    @property
    def alive(self) -> bool:
        """It has not ended by itself."""
        return self.life.read(0)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What it said of one kind of event, in all its lives."""
        lines = [line for line in self._bot.errors.splitlines() if f'"{event}"' in line]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    @property
    def complaints(self) -> str:
        """The lines of what nobody foresaw."""
        return "\n".join(line for line in self._bot.errors.splitlines() if "Traceback" in line)

    def readiness(self) -> int:
        """Ask `/readyz` for its status; 0 when nobody answers."""
        started = self.logged("web.started")
        if len(started) < self._starts:
            return 0
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{started[-1]['port']}/readyz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code
        except OSError:
            return 0


def moment(line: dict[str, Any]) -> datetime:
    """Tell when a line of a log was written."""
    return datetime.fromisoformat(line["timestamp"])
