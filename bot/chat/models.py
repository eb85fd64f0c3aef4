"""The models of an installation by their names: which one a channel's turns ask first."""

from collections.abc import Callable, Collection, Mapping

import structlog

from bot.llm.protocol import LLMClient

log = structlog.get_logger(__name__)


class Models:
    """Every model that may be asked first, each with the others behind it."""

    def __init__(
        self,
        default: LLMClient,
        named: Mapping[str, LLMClient] | None = None,
        *,
        described: Callable[[], Collection[str]] | None = None,
    ) -> None:
        """`named` are what to ask for each name, in the order of the settings; left out, there is `default` alone.
        `described` tells how each model is just now, in a line that begins with its name.

        All share the clients of `default`, whose closing closes them.
        """
        self.default = default
        """What is asked where no model was chosen."""
        self._named = dict(named) if named else {default.name: default}
        self.described = described or (lambda: self.names)
        self._missed: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The models that are configured, in the order in which they are asked where none was chosen."""
        return tuple(self._named)

    def named(self, name: str) -> LLMClient:
        """Return what asks the model `name` first; the default for "" and for a model that is not configured any more."""
        if not name:
            return self.default
        if (model := self._named.get(name)) is not None:
            return model
        if name not in self._missed:  # said once, however many turns it concerns
            self._missed.add(name)
            log.warning("models.unknown", model=name, instead=self.default.name)
        return self.default

    async def aclose(self) -> None:
        """Close every model; may be called twice."""
        await self.default.aclose()
