"""The process of the embedded broker: `python -m lamplighter.kafka.embedded.serve FOLDER`."""

import signal
import sys
import threading
import time
from pathlib import Path

from lamplighter.kafka.embedded.broker import NOTICE, EmbeddedBroker
from lamplighter.kafka.embedded.cluster import MockCluster

LINGER = 60.0  # seconds after the last user
LOOK = 1.0  # seconds between two looks at the users


def serve(folder: Path, *, linger: float | None, ended: threading.Event) -> None:
    """Run a broker until `ended` is set, or nobody has used it for `linger` seconds; None is for ever."""
    cluster = MockCluster()
    broker = EmbeddedBroker(folder, environment="local")
    broker.publish(cluster.address)
    used_at = time.monotonic()
    try:
        while not ended.wait(LOOK):
            if linger is None:
                continue
            if broker.has_users():
                used_at = time.monotonic()
            elif time.monotonic() - used_at > linger:
                return
    finally:
        broker.withdraw()


def main() -> None:
    """Serve the folder that the command line names."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    sys.stdout.write(f"{NOTICE}\n")
    sys.stdout.flush()
    serve(Path(sys.argv[1]), linger=LINGER, ended=ended)


if __name__ == "__main__":
    main()
