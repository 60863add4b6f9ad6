"""config/kafka.py under config/queue.py."""

from collections.abc import Callable, Mapping
from typing import Any

from lamplighter.errors import ConfigError

QUEUE_FILE = "config/queue.py"
KAFKA_FILE = "config/kafka.py"
DEFAULTS: Mapping[str, Any] = {"connections": {"kafka": {"driver": "kafka"}}}


class Merge:
    """config/kafka.py under config/queue.py, connection by connection and key by key; later wins."""

    def __init__(self, *, queue: Mapping[str, Any], kafka: Mapping[str, Any]) -> None:
        self._queue = queue
        self._kafka = kafka

    def result(self) -> dict[str, Any]:
        """The whole of `queue`, with the connections of both files.

        Raises:
            ConfigError: a file has another shape; it names the file and the key.
        """
        unknown = sorted(set(self._kafka) - {"connections"})
        if unknown:
            raise ConfigError(
                f"{KAFKA_FILE} has the unknown key {unknown[0]!r}; it knows connections, and the options of a "
                f"connection stand below its name there."
            )
        connections: dict[str, Any] = {}
        for file, layer in ((KAFKA_FILE, DEFAULTS), (KAFKA_FILE, self._kafka), (QUEUE_FILE, self._queue)):
            for name, options in _mapping(layer.get("connections", {}), file, "connections").items():
                connections[name] = {
                    **connections.get(name, {}),
                    **_mapping(options, file, f"connections.{name}"),
                }
        return {**self._queue, "connections": connections}

    def origin(self, connection: str) -> Callable[[str], str]:
        """Tells for each key of a connection which file said it."""

        def file_of(key: str) -> str:
            said = self._queue.get("connections", {}).get(connection, {})
            place = f"connections.{connection}"
            return f"{QUEUE_FILE} ({place})" if key in said else f"{KAFKA_FILE} ({place})"

        return file_of


def _mapping(value: Any, file: str, key: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    given = "null" if value is None else f"a {type(value).__name__}"
    raise ConfigError(f"{file} has {given} for the key {key!r}, which takes a mapping.")
