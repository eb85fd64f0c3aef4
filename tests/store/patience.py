"""How long tests of outages wait for PostgreSQL: the store's own five seconds only where it is there."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import store.postgres_pool as pool_room


@contextmanager
def impatient() -> Iterator[None]:
    """Let nobody wait five seconds for a server that is known to be away or to hang, for as long as the body lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_room, "PATIENCE", 0.3)
        yield
