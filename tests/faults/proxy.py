"""A TCP proxy between workers and a broker, whose line can be slow, cut, or broken in the middle."""

import random
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress

TURN = 0.01  # seconds


class Proxy(threading.Thread):
    """Passes bytes on; what a broker advertises must be the proxy's own port.

    Attributes:
        delay, jitter: seconds that each piece takes, more or less.
        resets: how likely a piece breaks its connection instead.
        is_cut: nothing passes, and no connection is broken: nobody is told.
    """

    def __init__(self, port: int, target: int, chance: random.Random) -> None:
        super().__init__(name="proxy", daemon=True)
        self.delay = self.jitter = self.resets = 0.0
        self.is_cut = False
        self._chance = chance
        self.port = port
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        self._ending = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._ending.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.1)
            if not ready:
                continue
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def end(self) -> None:
        """Take no more connections."""
        self._ending.set()
        self.join(5)
        self._listener.close()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        due = 0.0
        with suppress(OSError, ValueError):
            while not self._ending.is_set():
                ready, _, _ = select.select([source], [], [], TURN)
                now = time.monotonic()
                if ready and not self.is_cut:
                    data = source.recv(65_536)
                    if not data or self._chance.random() < self.resets:
                        break
                    # In order, whatever each of them takes.
                    due = max(due, now + self.delay + self._chance.uniform(-self.jitter, self.jitter))
                    waiting.append((due, data))
                while waiting and waiting[0][0] <= now and not self.is_cut:
                    sink.sendall(waiting.popleft()[1])
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
