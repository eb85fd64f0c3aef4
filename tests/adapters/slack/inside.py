"""What an adapter works with, behind it a real chat: the intake, the commands and the buttons of one installation."""

import random
from collections.abc import Callable, Collection
from datetime import timedelta

from bot.adapters.protocol import Inside
from bot.adapters.slack.inbound import PLATFORM
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.rules import RuleBook
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from store import Store

DAY = timedelta(days=1)


def chat_behind(
    store: Store,
    turns: Turns,
    rules: RuleBook,
    clock: Clock,
    *,
    operators: Collection[str] = (),
    ttl: timedelta | None = None,
    platforms: Callable[[], Collection[str]] = lambda: [PLATFORM],
) -> Inside:
    """Build it on a store and the turns that people's messages become."""
    intake = Intake(
        store,
        rules=lambda message: rules.of(PLATFORM, message.address.workspace, message.address.channel),
        characters=16000,
        accept=turns.accept,
        revised=turns.revised,
        retracted=turns.retracted,
    )
    commands = Commands(
        store,
        turns,
        Sweeper(store, clock, random.Random(1), ttl=ttl, purge_after=DAY, interval=DAY),
        rules,
        clock,
        operators=operators,
        platforms=platforms,
        model="scripted",
        ttl=ttl,
        version="1",
    )
    presses = ControlPresses(store, turns, operators=operators)
    return Inside(store=store, intake=intake, commands=commands, presses=presses, rules=rules)
