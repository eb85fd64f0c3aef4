"""The platforms that replicas serve together."""

from collections.abc import Sequence

from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.trial import Ground

ALL: Sequence[type[SlackStage] | type[DiscordStage]] = (SlackStage, DiscordStage)


def platforms(ground: Ground) -> Sequence[type[SlackStage] | type[DiscordStage]]:
    """All of them in the long form; in the short one, which has a few seconds, the seed chooses."""
    return ALL if ground.long else (ground.rng("platform").choice(ALL),)
