"""config/kafka.py under config/queue.py."""

from collections.abc import Callable, Mapping
from typing import Any

QUEUE_FILE = "config/queue.py"
KAFKA_FILE = "config/kafka.py"
DEFAULTS: Mapping[str, Any] = {"connections": {"kafka": {"driver": "kafka"}}}


class Merge:
    """config/kafka.py under config/queue.py, connection by connection and key by key; later wins."""

    def __init__(self, *, queue: Mapping[str, Any], kafka: Mapping[str, Any]) -> None:
        self._queue = queue
        self._kafka = kafka

    def result(self) -> dict[str, Any]:
        """The whole of `queue`, with the connections of both files."""
        connections: dict[str, Any] = {}
        for layer in (DEFAULTS, self._kafka, self._queue):
            for name, options in layer.get("connections", {}).items():
                known = connections.get(name)
                both = isinstance(known, dict) and isinstance(options, dict)
                connections[name] = {**(known or {}), **options} if both else options
        return {**self._queue, "connections": connections}

    def origin(self, connection: str) -> Callable[[str], str]:
        """Tells for each key of a connection which file said it."""

        def file_of(key: str) -> str:
            said = self._queue.get("connections", {}).get(connection, {})
            place = f"connections.{connection}"
            return f"{QUEUE_FILE} ({place})" if key in said else f"{KAFKA_FILE} ({place})"

        return file_of
