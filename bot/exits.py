"""The exit codes of sysexits that Parley ends with (DESIGN §11)."""

USAGE = 64
DATA = 65
BUSY = 75
CONFIG = 78
