"""The fence before each request of a write: what has waited inside an SDK while the turn was lost is not sent any more.

An SDK waits where the platform asks for it, and repeats what failed, for half a minute and more; the process may be paused
meanwhile, and wake when another one has finished the answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_still_ours: ContextVar[Callable[[], None]] = ContextVar("still_ours", default=lambda: None)


@contextmanager
def fenced(still_ours: Callable[[], None]) -> Iterator[None]:
    """Ask `still_ours`, which raises when the turn is not, before each request that the body makes."""
    token = _still_ours.set(still_ours)
    try:
        yield
    finally:
        _still_ours.reset(token)


def pass_fence() -> None:
    """Raise what ends a write whose turn is no longer ours. To be called right before each request to a platform."""
    _still_ours.get()()
