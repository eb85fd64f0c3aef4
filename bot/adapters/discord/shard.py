"""One shard of Discord's gateway: which workspaces are heard on it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """The shard `number` of `count`, counted from 0."""

    number: int
    count: int

    def hears(self, workspace: str) -> bool:
        """Tell whether a guild's events come here; direct messages ("") come on the first shard only."""
        return self.number == 0 if not workspace else (int(workspace) >> 22) % self.count == self.number
