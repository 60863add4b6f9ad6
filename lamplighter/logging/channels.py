"""Where log lines go."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lamplighter.errors import ConfigError
from lamplighter.logging.formatters import JsonFormatter, LineFormatter
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
    channels = settings.get("channels", {})
    if name not in channels:
        raise ConfigError(f"{FILE} has no channel {name!r}; it has {', '.join(sorted(channels)) or 'none'}.")
    options = parse_options(ChannelOptions, channels[name], where=f"{FILE} (channels.{name})")
    handler = _handler(options, path)
    handler.setFormatter(JsonFormatter() if options.format == "json" else LineFormatter())
    for logger_name in LOGGERS:
        logger = logging.getLogger(logger_name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(_level(options.level))
        logger.propagate = False


def _handler(options: ChannelOptions, path: Callable[[str], Path]) -> logging.Handler:
    if options.driver == "null":
        return logging.NullHandler()
    if options.driver == "stderr":
        return logging.StreamHandler(sys.stderr)
    file = path(options.path)
    file.parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(file, encoding="utf-8", errors="backslashreplace", delay=True)


def _level(name: str) -> int:
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise ConfigError(f"{FILE} has the level {name!r}; there are debug, info, warning, error and critical.")
    return level
