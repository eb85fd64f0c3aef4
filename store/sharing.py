"""The words of sharing: what replicas on one store spread among them."""

from dataclasses import dataclass
from datetime import timedelta

MOST_PARTS = 10_000
"""Parts of one name: the largest bots of Discord have some thousands of shards."""
LONGEST = timedelta(days=1)
"""A lease, a pace or a hold that is longer would be a mistake, or a platform's."""
LONGEST_NAME = 200
"""Characters of the name of something shared, of a replica or of a budget."""
BUDGET_KEPT = timedelta(hours=1)
"""A budget that nobody took a slot of for so long is forgotten: the next slot is free at once with it or without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one replica has to do with the parts of something, such as the shards of a gateway.

    `parts` is how many there are. `held` are this replica's own. `offered` are those that another replica gives up as soon
    as this one is ready for them, so that there is no gap. `others` counts the other replicas that take parts; `rank` is
    this replica's place among all of them, 0 for the one that has been there the longest; those that are leaving stand
    behind the rest.
    """

    parts: int
    held: frozenset[int]
    offered: frozenset[int]
    others: int
    rank: int
