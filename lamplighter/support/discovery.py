"""Finds and imports an application's modules."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from lamplighter.errors import ConfigError


def import_modules(package: str, folder: Path) -> list[ModuleType]:
    """Every module below a package's folder, imported in the order of their paths.

    Raises:
        ConfigError: one of them breaks; it is named.
    """
    modules = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__":
            continue
        name = ".".join((package, *parts))
        try:
            modules.append(importlib.import_module(name))
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{path.name} can't be imported as {name}: {type(error).__name__}: {error}") from error
    return modules


def load_settings(path: Path) -> dict[str, Any]:
    """The dictionary `config` of a settings file.

    Raises:
        ConfigError: the file breaks, or has no such dictionary.
    """
    shown = f"{path.parent.name}/{path.name}"
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{shown} can't be read: {type(error).__name__}: {error}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, dict):
        raise ConfigError(f"{shown} has no dictionary named `config`.")
    return config
