"""The laws of sharing: what several replicas on one store have in common beside conversations.

Everything goes by the store's own clock, so replicas whose clocks differ agree. It is all of the moment: leases and paces
are neither moved nor backed up, and a file that is opened again has none, since whoever shared it is gone.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Protocol

from store.sharing import Share


class Sharing(Protocol):
    """How replicas divide what only one of them should do, and keep one pace together."""

    async def share(
        self, name: str, *, replica: str, parts: int, ready: Collection[int], leaving: bool, lasting: timedelta
    ) -> Share:
        """Say that a replica is there for `lasting` from now, and learn its share of the parts `0 .. parts-1` of `name`.

        `ready` are the parts that it carries out already, its own and offered ones. `leaving`: it wants to give all of them
        up. Asked again well before `lasting` is over, the answer changes only as replicas come, leave, go or get ready:

        - A part has one holder at most. One without a living holder is given to whoever asks and holds less than its share,
          those that it is ready for first.
        - Shares are even: of P parts, each of the R replicas that are not leaving has P // R, and those that have been there
          the longest one more until all are given. Nobody is given or offered more. So nothing changes hands but what must
          when one comes, and nothing at all when one goes but what it had.
        - What a holder has beyond its share, all of it when it is leaving, is offered to one replica that has less. It
          changes hands when that replica says it is ready, and not before: the old holder learns it by what is not in `held`
          any more. An offer ends when the one it was made to is gone or is leaving, and when it would not be made any more.
        - A leaving replica keeps what nobody takes, and is given nothing. Should it stay after all, it counts as a new one.
        - A replica that was silent for longer than `lasting` is gone: its parts have no holder. What it is told when it
          comes back is its share as that of a new one; what others hold by then stays theirs, whatever it is ready for.
        - The number of parts is that of the replica which came first; it changes when all have gone.

        Raises:
            ValueError: `parts` is below 1 or above `MOST_PARTS`, `ready` names a part that can't be, `lasting` is not
                positive or beyond `LONGEST`, or a name is empty or longer than `LONGEST_NAME`.
            UnstorableText.
        """

    async def leave(self, name: str, *, replica: str) -> None:
        """Take a replica out at once: what it holds has no holder. Nothing happens when it is not there."""

    async def slot(self, budget: str, *, pace: timedelta) -> timedelta:
        """Take the next slot of a budget that all replicas share, and return how long it is until then; never negative.

        Slots lie at least `pace` apart, and the first one is free at once when none was taken for so long. Whoever takes one
        and does not use it has wasted it.

        Raises:
            ValueError: `pace` is negative or beyond `LONGEST`, or the name is empty or longer than `LONGEST_NAME`.
            UnstorableText.
        """

    async def hold_back(self, budget: str, *, lasting: timedelta) -> None:
        """Give out no slot of a budget before `lasting` is over, to anyone: the platform asked for it.

        Slots that were given already stay given; a hold that ends sooner than another changes nothing. Of what is longer
        than `LONGEST`, only that much counts.

        Raises:
            ValueError: `lasting` is negative, or the name is empty or longer than `LONGEST_NAME`.
            UnstorableText.
        """
