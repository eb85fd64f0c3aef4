"""What an adapter works with, behind it a real chat: the intake, the commands and the buttons of one installation."""

import random
from collections.abc import Callable, Collection
from datetime import timedelta

from bot.adapters.protocol import Inside
from bot.adapters.slack.inbound import PLATFORM
from bot.chat.authority import Authority
from bot.chat.commands import Commands, Parts
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.rules import RuleBook
from bot.chat.sweeper import Sweeper
from bot.chat.turns import Turns
from bot.clock import Clock
from bot.findings import Finding
from store import Store

DAY = timedelta(days=1)


async def nothing_found() -> list[Finding]:
    return []


def chat_behind(
    store: Store,
    turns: Turns,
    rules: RuleBook,
    clock: Clock,
    *,
    operators: Collection[str] = (),
    platforms: Callable[[], Collection[str]] = lambda: [PLATFORM],
) -> Inside:
    """Build it on a store and the turns that people's messages become."""
    authority = Authority(store, rules, clock, operators=operators)
    intake = Intake(
        store,
        rules,
        authority,
        clock,
        characters=16000,
        accept=turns.accept,
        revised=turns.revised,
        retracted=turns.retracted,
    )
    commands = Commands(
        Parts(
            store=store,
            turns=turns,
            sweeper=Sweeper(store, clock, random.Random(1), rules, purge_after=DAY, interval=DAY, audit_ttl=365 * DAY),
            rules=rules,
            authority=authority,
            clock=clock,
            platforms=platforms,
            models=lambda: ["scripted"],
            examine=nothing_found,
            purge_after=DAY,
            version="1",
            began=clock.now(),
        )
    )
    presses = ControlPresses(store, turns, authority)
    return Inside(store=store, intake=intake, commands=commands, presses=presses, rules=rules, authority=authority)
