"""SIGKILL at random moments, again and again, on each platform and each engine, while people talk in twenty threads.

In the short form the seed chooses an engine for each platform.

Slack's limits for connecting and reading are generous here: it lets an app open a socket 50 times a minute, and nobody who
runs one restarts it that often. Those for writing are Slack's own, and all but the number of sessions a day is Discord's.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from tests.trials.auditing import Account, audit, named
from tests.trials.engines import kept_in
from tests.trials.killing import ENDING, Killing
from tests.trials.rigs import rig
from tests.trials.scenes import Scene, all_or_one_each, play_all
from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Stage
from tests.trials.trial import Figure, Ground, Trial

GENEROUS = dict.fromkeys(
    (
        "apps.connections.open",
        "auth.test",
        "conversations.history",
        "conversations.info",
        "conversations.list",
        "conversations.replies",
        "team.info",
        "usergroups.list",
        "users.info",
    ),
    100_000,
)
LIVES_A_DAY = 1_000_000
RESTART_SECONDS = 5
"""The longest wait, from a restart, for an answer that the killed process owed."""


def run(ground: Ground) -> Sequence[Figure]:
    """Kill the bot on every platform and engine."""
    return play_all(ground, [Kills(ground, *pair) for pair in all_or_one_each(ground)])


class Kills(Scene):
    """One platform and one engine, and a bot that is killed there."""

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        super().__init__(ground, platform, engine)
        self._rng = ground.rng("kill", platform, engine)
        self.steps, self._kills, self._places = (1000, 100, 20) if ground.long else (20, 4, 5)
        self._timed = ground.long  # what is short runs beside other tests

    def play(self) -> list[Figure]:
        """Kill until there were enough turns, which are the steps, and kills."""
        with (
            kept_in(self.engine, self.directory) as kept,
            self._stage() as stage,
            rig(stage, kept, self.directory, delay_ms=20) as here,
        ):
            killing = Killing(stage, kept, here.bot(), self._rng)
            killing.run(self.steps, self._kills, progress=self._begun)
            account, half_turns = audit(here), _half_turns(here.model.calls())
        return named(self.name, self._figures(account, killing, half_turns))

    def _begun(self, turns: int) -> None:
        self.done = min(turns, self.steps)

    def _stage(self) -> Stage:
        if self.platform == DiscordStage.name:
            return DiscordStage(self._places, shards=1, threads=True, sessions=LIVES_A_DAY)
        return SlackStage(self._places, threads=True, limits=GENEROUS)

    def _figures(self, account: Account, killing: Killing, half_turns: int) -> list[Figure]:
        seen, messages, turns = killing.seen, account.messages, account.turns
        duplicated = account.stored_twice + account.shown_twice
        figures = [
            Figure(name="kills", value=seen.kills),
            Figure(name="turns", value=turns, at_least=self.steps),
            Figure(name="messages lost", value=account.lost + account.unanswered, at_most=0, of=messages),
            Figure(name="answers lost", value=account.not_shown, at_most=0, of=turns),
            Figure(name="duplicated", value=duplicated, at_most=0, of=messages),
            Figure(name="conversations out of order", value=account.disordered, at_most=0, of=account.ordered),
            Figure(name="orphaned half messages", value=killing.orphans, at_most=0, of=turns),
            Figure(name="half turns in a prompt", value=half_turns, at_most=0, of=account.calls),
            Figure(name="model calls beyond one a turn", value=account.calls - turns),
        ]
        if seen.resumed:
            median, longest = round(statistics.median(seen.resumed), 2), round(max(seen.resumed), 2)
            most = RESTART_SECONDS if self._timed else None
            figures += [
                Figure(name="restart to resumed answer, median", value=median, unit="s"),
                Figure(name="restart to resumed answer, longest", value=longest, unit="s", at_most=most),
            ]
        return figures


def _half_turns(calls: Sequence[dict[str, Any]]) -> int:
    """Count the prompts that hold an answer which is not whole."""
    return sum(
        any(
            message["role"] == "assistant" and not message["content"].endswith(ENDING)
            for message in call["body"]["messages"]
        )
        for call in calls
    )


TRIAL = Trial(
    number=1,
    name="kill",
    what="The bot is killed (SIGKILL) about every half second while people talk to it, and started again.",
    run=run,
)
