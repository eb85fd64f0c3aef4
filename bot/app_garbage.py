"""How Python's garbage collector is set up for a process that runs for months, and answers many people at once.

A turn that is over leaves nothing to it (`tests/chat/test_turns.py`); what it does find are circles inside libraries.
"""

import gc

YOUNG = 5_000
"""How many more objects there are before it looks at the young ones. With 200 streams at once Python's own 700 are reached
several times a second, and each look takes the longer the more there are: up to 10 ms in which nothing else happens."""
OLDER = (5, 2)
"""After so many looks at the young ones it looks at the middle ones too, and after so many of those at all: 50,000 objects
later. Python's own 10 and 10 would let half a million gather, some 100 MB."""


def leave_the_program_alone() -> None:
    """Let the collector pass over what is there by now, code and settings; called once, when all of it is loaded.

    It walked through all of that in every full round: with what 200 streams hold, that took 230 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
