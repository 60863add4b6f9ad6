"""Finds and imports an application's modules."""

import importlib
import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lamplighter.errors import ConfigError


def import_modules(package: str, folder: Path) -> list[ModuleType]:
    """Every module below a package's folder, imported in the order of their paths; hidden files are passed over.

    Raises:
        ConfigError: one of them breaks, or another file of its name is imported in its place; it is named.
    """
    modules = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__" or is_hidden(parts):
            continue
        name = ".".join((package, *parts))
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{path.name}{_line(error, path)} can't be imported as {name}: {why}") from error
        found = module.__file__
        if found is None or not path.samefile(found):
            raise ConfigError(
                f"{path} is not what Python imports as {name}: that is {found}. Another folder has a package {package} "
                f"and comes first in sys.path, or this process has imported it for another application."
            )
        modules.append(module)
    return modules


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a file is no source: editors and archives leave files like `.#queue.py` and `._queue.py` beside one."""
    return any(part.startswith(".") for part in parts)


def load_settings(path: Path) -> dict[str, Any]:
    """The dictionary `config` of a settings file.

    Raises:
        ConfigError: the file breaks, or has no such dictionary.
    """
    shown = f"{path.parent.name}/{path.name}"
    if not path.is_file():  # Python would wait for who writes into a pipe
        raise ConfigError(f"{shown} can't be read: it is no file.")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{shown}{_line(error, path)} can't be read: {type(error).__name__}: {error}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, dict):
        raise ConfigError(f"{shown} has no dictionary named `config`.")
    return config


def _line(error: BaseException, path: Path) -> str:
    """The line of a file that an error comes from; nothing where it says so itself, or comes from none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}," if lines else ""
