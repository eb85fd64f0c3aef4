"""What stays in memory when nobody needs it any more, because it refers to itself, and waits for the garbage collector."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[Callable[..., list[object]]]:
    """Keep the collector from looking while the body lasts; what is handed over lists what came since of some types."""
    gc.collect()
    before = {id(thing) for thing in gc.get_objects()}
    gc.disable()
    try:
        yield lambda *types: [thing for thing in gc.get_objects() if isinstance(thing, types) and id(thing) not in before]
    finally:
        gc.enable()
