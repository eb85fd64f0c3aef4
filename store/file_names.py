"""Names that a file takes for good: after a power failure a name stands for the old file or for the new one, both whole."""

import os
from pathlib import Path


def take_name(draft: Path, target: Path) -> None:
    """Give `draft`, written and closed, the name `target` in the same directory; what had that name is replaced at once.

    Raises:
        OSError: as the system has it; `target` is whole, old or new.
    """
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
