"""How the log tells of a failure that nobody expected: what and where, in one line, without what people wrote.

The texts of exceptions stay out: some repeat what they could not handle.
"""

import traceback


def describe(failure: BaseException) -> str:
    """Name an exception's type and the line that raised it."""
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(failure).__name__}{where}"
