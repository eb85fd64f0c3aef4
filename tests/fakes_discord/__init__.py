import tests.fakes.discord  # noqa: F401 - first, because it imports discord.py without its warning
