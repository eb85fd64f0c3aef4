"""Whatever a model writes, on whatever way it gets out: nobody is pinged, nothing fetched, nothing driven or forged."""

import asyncio
import itertools
from collections.abc import Sequence

from tests.trials.hostile_discord import out_on_discord
from tests.trials.hostile_screens import out_in_the_log, out_on_a_terminal
from tests.trials.hostile_slack import out_on_slack
from tests.trials.hostile_texts import TEXTS
from tests.trials.trial import Figure, Ground, Trial

SHORT = 4
"""How many texts the short form sends on each way of a platform."""


def run(ground: Ground) -> Sequence[Figure]:
    """Send all texts, or some of them, on every way out."""
    texts = list(TEXTS) if ground.long else ground.rng("texts").sample(TEXTS, SHORT)
    steps = itertools.count(1)

    def sent() -> None:
        ground.progress(next(steps), 2 * len(texts))

    figures = []
    for platform, out in (("Discord", out_on_discord), ("Slack", out_on_slack)):
        seen = asyncio.run(out(texts, sent))
        figures += [
            Figure(name=f"{platform}: texts on a way out", value=seen.sent, at_least=10 * len(texts)),
            _none(f"{platform}: people pinged", seen.pings, seen.sent),
            _none(f"{platform}: links fetched", seen.unfurls, seen.sent),
            _none(f"{platform}: writes without their guards", seen.unguarded, seen.sent),
            _none(f"{platform}: names, labels or errors with a word of it", seen.spoofs, seen.sent),
        ]
    # These cost nothing, so that all of them are tried each time.
    shown, driven = out_on_a_terminal(TEXTS)
    records, forged = out_in_the_log(TEXTS)
    return [
        *figures,
        Figure(name="texts", value=len(TEXTS), at_least=60),
        Figure(name="terminal: texts on a way out", value=shown, at_least=4 * len(TEXTS)),
        _none("terminal: signs that drive it", driven, shown),
        Figure(name="log: records", value=records, at_least=10 * len(TEXTS)),
        _none("log: lines forged or signs that drive a terminal", forged, records),
    ]


def _none(name: str, seen: Sequence[str], of: int) -> Figure:
    return Figure(name=name, value=len(seen), at_most=0, of=of, seen=tuple(seen))


TRIAL = Trial(
    number=15,
    name="hostile_text",
    what="A model writes what pings, unfurls, spoofs or drives a terminal, and it gets out on every way that there is.",
    run=run,
)
