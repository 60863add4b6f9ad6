"""Under which names the same jobs are reached: a failover is worked by its first connection."""

from collections.abc import Mapping
from typing import Any


def names_of(configured: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The connections whose workers take the same jobs as those of this one, which comes first.

    Args:
        configured: the connections of config/queue.py. What is wrong with them is said where they are used.
    """
    end = _worked_by(configured, name)
    same = [each for each in configured if _worked_by(configured, each) == end]
    return tuple(dict.fromkeys((name, end, *same)))


def _worked_by(configured: Mapping[str, Any], name: str) -> str:
    seen = set()
    while name not in seen:
        seen.add(name)
        name = _first_of(configured.get(name)) or name
    return name


def _first_of(options: object) -> str | None:
    if not isinstance(options, Mapping) or options.get("driver") != "failover":
        return None
    names = options.get("connections")
    if isinstance(names, str):
        names = [part.strip() for part in names.split(",") if part.strip()]
    return names[0] if isinstance(names, list | tuple) and names and isinstance(names[0], str) else None
