"""The log: one chain for our events and those of every library, as JSON or for a terminal, without secrets.

A room calls `structlog.get_logger(__name__)` and logs an event's name with fields, `log.info("turn.finished", state=...)`;
the turn's identity comes from `structlog.contextvars`. What a person wrote is logged below INFO only: fields named in
`CONTENT` are replaced by their length from INFO on. Metrics are counted from the same events, whatever `LOG_LEVEL` is.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor

from bot.telemetry_metrics import Metrics
from bot.telemetry_redaction import Cleaner, Plain

__all__ = ["EVENT_BYTES", "Metrics", "configure_logging", "harden_process"]

EVENT_BYTES = 8 * 1024
"""The longest line: a flood of text must not hide the other lines, nor fill the disk."""
CONTENT = frozenset({"answer", "body", "content", "persona", "prompt", "system_prompt", "text"})
QUIET = {
    "alembic": logging.WARNING,  # tells every plug-in that it loads at INFO
    "httpx": logging.WARNING,  # prints whole URLs at INFO
    "httpcore": logging.WARNING,  # prints headers at DEBUG
    "discord": logging.INFO,  # prints whole messages at DEBUG
    "aiohttp.access": logging.WARNING,  # prints paths with their queries, such as an OAuth code
    "slack_sdk": logging.INFO,  # prints whole requests at DEBUG
    "slack_bolt": logging.WARNING,  # prints the body of requests that nobody has authenticated at INFO
}
_LEVELS = logging.getLevelNamesMapping()
_ALWAYS = ("timestamp", "level", "logger", "event", "turn", "turn_id", "conversation", "conversation_id")


def configure_logging(
    level: str,
    format: Literal["console", "json"] | None,
    secrets: Collection[str],
    stream: TextIO,
    *,
    metrics: Metrics | None = None,
) -> None:
    """Send every event, of ours and of libraries, through one chain to `stream`; calling it again replaces the former.

    `format` None chooses `console` on a terminal and `json` elsewhere. `metrics` sees the events below `level` as well.
    """
    terminal = stream.isatty()
    least = _LEVELS[level]
    console = format == "console" or (format is None and terminal)
    render = _Renderer(_Console(colors=terminal) if console else _render_json, Cleaner(secrets))
    writer = _Writer(stream)

    ours: list[Processor] = [structlog.contextvars.merge_contextvars]
    if metrics is not None:
        ours.append(metrics)
    ours += [_Threshold(least), structlog.processors.add_log_level, _add_logger_name, *_SHARED, render]
    structlog.configure(
        processors=ours,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *names: _Sink(writer.write, str(names[0]) if names else ""),
        cache_logger_on_first_use=False,
    )
    theirs: list[Processor] = [structlog.contextvars.merge_contextvars, *_SHARED, render]
    handler = _LibraryHandler(writer, theirs, metrics)
    root = logging.getLogger()
    for former in [known for known in root.handlers if isinstance(known, _LibraryHandler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(least)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, least))


def harden_process() -> None:
    """Leave no core dump, which would hold every secret, and let exceptions that nobody caught go through the log.

    To be called behind `configure_logging`: structlog's own default shows the local variables of a traceback.
    """
    try:
        import resource
    except ImportError:  # Windows writes none by itself
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = structlog.get_logger(__name__)

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("process.crashed", exc_info=(kind, error, trace))

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            report(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_thread


class _Writer:
    """Writes whole lines to the stream, of any thread; a stream that is gone loses lines and harms nobody."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "utf-8"
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Write `line` and end it."""
        whole = line.encode(self._encoding, "backslashreplace").decode(self._encoding) + "\n"
        with self._lock:
            try:
                self._stream.write(whole)
                self._stream.flush()
            except (OSError, ValueError):  # a broken pipe, a full disk, a closed stream
                return

    def flush(self) -> None:
        """Nothing waits: every line is flushed."""


class _Sink:
    """What structlog hands a rendered line to; it knows the logger's name."""

    def __init__(self, write: Callable[[str], None], name: str) -> None:
        self.name = name
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = write


class _LibraryHandler(logging.StreamHandler[_Writer]):
    """Brings the records of libraries into our chain. The base class catches what the `repr` of a foreign object raises."""

    terminator = ""

    def __init__(self, writer: _Writer, processors: Sequence[Processor], metrics: Metrics | None) -> None:
        super().__init__(writer)
        self._metrics = metrics
        self.setFormatter(_LibraryFormatter(processors))

    def emit(self, record: logging.LogRecord) -> None:
        if self._metrics is not None:
            self._metrics.count_line(record.levelname.lower())
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say that a record was lost; the base class would print its arguments, secrets and all, to stderr."""
        self.stream.write(json.dumps({"event": "log.failed", "level": "error", "logger": "logging"}))


class _LibraryFormatter(logging.Formatter):
    def __init__(self, processors: Sequence[Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, LookupError):  # the library's format does not fit its arguments
            message = str(record.msg)
        event: Any = {"event": message, "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        for process in self._processors:
            event = process(None, record.levelname.lower(), event)
        return str(event)


class _Threshold:
    """Drops what is below `LOG_LEVEL`; it stands behind the metrics."""

    def __init__(self, least: int) -> None:
        self._least = least

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        if _level_of(method) < self._least:
            raise structlog.DropEvent
        return event


def _level_of(method: str) -> int:
    return _LEVELS.get("ERROR" if method == "exception" else method.upper(), logging.INFO)


def _add_logger_name(logger: object, method: str, event: EventDict) -> EventDict:
    if isinstance(logger, _Sink) and logger.name:
        event["logger"] = logger.name
    return event


def _hide_content(logger: object, method: str, event: EventDict) -> EventDict:
    if _level_of(method) >= logging.INFO:
        for name in CONTENT & event.keys():
            value = event[name]
            event[name] = f"[{len(value)} characters]" if isinstance(value, str) else f"[{type(value).__name__}]"
    return event


_SHARED: tuple[Processor, ...] = (
    _hide_content,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
)


class _Renderer:
    """The end of the chain: plain data, cleaned, rendered and never longer than `EVENT_BYTES`."""

    def __init__(self, render: "_Render", cleaner: Cleaner) -> None:
        self._render = render
        self._cleaner = cleaner

    def __call__(self, logger: object, method: str, event: EventDict) -> str:
        cleaned = self._clean(event)
        line = self._render(cleaned)
        for longest in (2048, 512, 128):
            if len(line.encode("utf-8", "backslashreplace")) <= EVENT_BYTES:
                return line
            line = self._render({name: _cut(value, longest) for name, value in cleaned.items()} | {"cut": True})
        if len(line.encode("utf-8", "backslashreplace")) <= EVENT_BYTES:
            return line
        return self._render({name: _cut(cleaned[name], 128) for name in _ALWAYS if name in cleaned} | {"cut": True})

    def _clean(self, event: EventDict) -> dict[str, Plain]:
        cleaned: dict[str, Plain] = {}
        for name in sorted(event, key=lambda key: _ALWAYS.index(key) if key in _ALWAYS else len(_ALWAYS)):
            value = event[name]
            # A traceback keeps its lines; every other newline is escaped, so that nobody forges a line.
            trace = name in ("exception", "stack") and isinstance(value, str)
            key = self._cleaner.clean_text(str(name))
            cleaned[key] = self._cleaner.clean_text(value, newlines=True) if trace else self._cleaner.clean(value)
        return cleaned


class _Render(Protocol):
    def __call__(self, event: dict[str, Plain], /) -> str: ...


def _render_json(event: dict[str, Plain]) -> str:
    return json.dumps(event, ensure_ascii=False)


class _Console:
    """For a terminal. The lines of a traceback are indented: one that an exception's text made up can't pass for ours."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=24)

    def __call__(self, event: dict[str, Plain]) -> str:
        shown: dict[str, Any] = dict(event)
        for name in ("exception", "stack"):
            if name in shown:
                shown[name] = "\n".join(f"    | {line}" for line in str(shown[name]).splitlines())
        return str(self._render(None, "", shown))


def _cut(value: Plain, longest: int) -> Plain:
    """Shorten a value; of a long text its beginning and its end stay, since a traceback tells most at its end."""
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) > longest:
        return f"{value[: longest // 2]} ... {value[-(longest // 2) :]}"
    return value
