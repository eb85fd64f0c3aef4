"""Scenes of a trial: what it does on one platform and one engine. They are played beside each other."""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from tests.trials.engines import ENGINES
from tests.trials.trial import Figure, Ground

PLATFORMS = ("Discord", "Slack")
LOOK_SECONDS = 0.2
"""How often progress is told."""

Pair = tuple[str, str]
"""A platform and an engine."""


class Scene:
    """One platform and one engine, and how far it is: so many steps of `steps` are `done`."""

    steps = 1

    def __init__(self, ground: Ground, platform: str, engine: str) -> None:
        self.platform = platform
        self.engine = engine
        self.name = f"{platform}, {engine}"
        self.directory = ground.directory / f"{platform}-{engine}"
        self.done = 0

    def play(self) -> Sequence[Figure]:
        """Go through it, and count."""
        raise NotImplementedError


def all_or_one(ground: Ground) -> Sequence[Pair]:
    """Every platform with every engine; in the short form one pair, as the seed has it."""
    pairs = list(itertools.product(PLATFORMS, ENGINES))
    return pairs if ground.long else [ground.rng("scene").choice(pairs)]


def all_or_one_each(ground: Ground) -> Sequence[Pair]:
    """Every platform with every engine; in the short form with the one that the seed chooses for it."""
    engines = {name: ENGINES if ground.long else [ground.rng(name).choice(ENGINES)] for name in PLATFORMS}
    return [(platform, engine) for platform, chosen in engines.items() for engine in chosen]


def play_all(ground: Ground, scenes: Sequence[Scene], *, at_once: int = 2) -> list[Figure]:
    """Play scenes, so many at a time, and return the figures of all of them."""
    steps = sum(scene.steps for scene in scenes)
    with ThreadPoolExecutor(at_once) as pool:
        played = {pool.submit(scene.play): scene for scene in scenes}
        going_on = set(played)
        while going_on:
            over, going_on = wait(going_on, LOOK_SECONDS)
            for one in over:
                played[one].done = played[one].steps
            ground.progress(sum(scene.done for scene in scenes), steps)
    return [figure for one in played for figure in one.result()]
