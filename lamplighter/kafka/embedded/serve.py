"""The process of the embedded broker: `python -m lamplighter.kafka.embedded.serve FOLDER SECONDS`."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import psutil

from lamplighter.kafka.embedded.broker import NOTICE
from lamplighter.kafka.embedded.cluster import MockCluster, bundled_library
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.unread import UnreadRecords
from lamplighter.kafka.embedded.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ServedBroker:
    """The broker in this process, as long as the object lives."""

    def __init__(self, folder: BrokerFolder) -> None:
        self._cluster = MockCluster(bundled_library())
        self._records = UnreadRecords(self.address, folder.readers)

    @property
    def address(self) -> str:
        """`host:port`."""
        return self._cluster.address

    def unread(self) -> Mapping[str, int]:
        """By topic, how many records nobody has read."""
        return self._records.count()

    def is_connected(self) -> bool:
        """Whether a client of another process is connected."""
        port = int(self.address.rpartition(":")[2])
        found = [one for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
        own = {one.laddr for one in found}
        return any(one.laddr.port == port and one.raddr not in own for one in found)


def end_by_signals() -> threading.Event:
    """What a signal to end sets; a terminal that was closed sends one, too."""
    ended = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: ended.set())
    return ended


def main() -> None:
    """Leave the process that started us, and serve until nobody needs it."""
    folder, linger = BrokerFolder.followed(Path(sys.argv[1])), float(sys.argv[2])
    # Nobody's child: who started it has no zombie to reap, and its end is not waited for.
    if os.fork():
        os._exit(0)
    ended = end_by_signals()
    broker = ServedBroker(folder)
    if not folder.begin(broker.address):
        _say("Not needed: another broker has come up meanwhile.")
        return
    _say(f"{NOTICE} At {broker.address}, process {os.getpid()}.")
    reason = Watch(folder, broker, linger=linger, say=_say).run(ended)
    _say(f"Ended: {reason}.")


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
