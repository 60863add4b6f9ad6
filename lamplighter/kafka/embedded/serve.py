"""The process of the embedded broker: `python -m lamplighter.kafka.embedded.serve FOLDER SECONDS`."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.broker import NOTICE
from lamplighter.kafka.embedded.cluster import MockCluster, bundled_library
from lamplighter.kafka.embedded.folder import BrokerFolder

LOOK = 1.0  # seconds between two looks at the users
LOCK_WAIT = 1.0  # seconds for the lock; then another look


def start(folder: BrokerFolder) -> MockCluster:
    """A broker that the others can find; it lives as long as the object."""
    cluster = MockCluster(bundled_library())
    folder.publish(cluster.address)
    return cluster


def watch(folder: BrokerFolder, *, linger: float | None, ended: threading.Event) -> str:
    """Wait until there is a reason to end the broker, and return it; `linger` None waits for no users.

    One whom nobody finds any more ends, too: its folder is gone, or a successor stands in it.
    """
    used_at = time.monotonic()
    try:
        while not ended.wait(LOOK if linger is None else min(LOOK, linger / 2)):
            if not folder.is_published():
                return "another has taken its place"
            if linger is None:
                continue
            if folder.has_users():
                used_at = time.monotonic()
            elif time.monotonic() - used_at > linger and _withdraw_unused(folder):
                return f"nobody has used it for {linger:g} s"
    finally:
        folder.withdraw()
    return "it was told to"


def _withdraw_unused(folder: BrokerFolder) -> bool:
    """Withdraw, unless somebody has come meanwhile: users look for the broker under the same lock."""
    try:
        with folder.alone(wait=LOCK_WAIT):
            if folder.has_users():
                return False
            folder.withdraw()
            return True
    except BrokerUnavailable:
        return False


def main() -> None:
    """Leave the process that started us, and serve until nobody needs it."""
    folder, linger = BrokerFolder(Path(sys.argv[1])), float(sys.argv[2])
    # Nobody's child: who started it has no zombie to reap, and its end is not waited for.
    if os.fork():
        os._exit(0)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    cluster = start(folder)
    _say(f"{NOTICE}\nAt {cluster.address}, process {os.getpid()}.\n")
    reason = watch(folder, linger=linger, ended=ended)
    _say(f"Ended: {reason}.\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
