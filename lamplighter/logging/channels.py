"""Where log lines go."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lamplighter.errors import ConfigError
from lamplighter.logging.files import LogFile
from lamplighter.logging.formatters import JsonFormatter, LineFormatter
from lamplighter.logging.streams import LogStream
from lamplighter.support.forking import Lock, watch
from lamplighter.support.options import parse_options

FILE = "config/logging.py"
LOGGERS = ("lamplighter", "app")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """One channel; `path` is read from the base path, and only `single` needs it."""

    driver: Literal["single", "stderr", "null"]
    level: str = "info"
    format: Literal["line", "json"] = "line"
    path: str = "storage/logs/lamplighter.log"


def configure(settings: Mapping[str, Any], path: Callable[[str], Path]) -> None:
    """Send the records of the framework and the application to the default channel, and to no other.

    Raises:
        ConfigError: the channel is unknown, or a setting is wrong.
    """
    name = settings.get("default", "stderr")
    channels = settings.get("channels") or {}
    if not isinstance(channels, Mapping):
        raise ConfigError(f"{FILE} has a {type(channels).__name__} for the key 'channels', which takes a dictionary.")
    if not isinstance(name, str) or name not in channels:
        raise ConfigError(f"{FILE} has no channel {name!r}; it has {', '.join(sorted(channels)) or 'none'}.")
    options = parse_options(ChannelOptions, channels[name], where=f"{FILE} (channels.{name})")
    level = _level(options.level)  # what is wrong is refused while the old channel is still there
    handler = _handler(options, path)
    watch(handler, in_child=_nothing, locks=_writing)
    handler.setFormatter(JsonFormatter() if options.format == "json" else LineFormatter())
    for logger_name in LOGGERS:
        logger = logging.getLogger(logger_name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


def _handler(options: ChannelOptions, path: Callable[[str], Path]) -> logging.Handler:
    if options.driver == "null":
        return logging.NullHandler()
    if options.driver == "stderr":
        return LogStream(sys.stderr)
    return LogFile(path(options.path))


class Writing:
    """Nobody writes into a handler's stream.

    `logging` gives a child new locks, but a stream has one of its own, for a moment in each write: in a child that was
    forked meanwhile the next line would wait for ever, and so would the end of the interpreter.
    """

    def __init__(self, lock: Lock) -> None:
        # In this order, as `logging` takes the first one of them before a fork, too, however long that takes.
        self._locks: tuple[Lock, Lock] = (logging._lock, lock)  # type: ignore[attr-defined]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take both, or none."""
        first, second = self._locks
        if not first.acquire(blocking, timeout):
            return False
        if second.acquire(blocking, timeout):
            return True
        first.release()
        return False

    def release(self) -> None:
        """Give both back."""
        for lock in self._locks:
            lock.release()


def _writing(handler: logging.Handler) -> tuple[Lock, ...]:
    return () if handler.lock is None else (Writing(handler.lock),)


def _nothing(handler: logging.Handler) -> None:
    """Its lock is new by then."""


def _level(name: str) -> int:
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise ConfigError(f"{FILE} has the level {name!r}; there are debug, info, warning, error and critical.")
    return level
