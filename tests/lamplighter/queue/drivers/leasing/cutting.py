"""A line to a server that breaks after some bytes of a question, or of an answer."""

import socket
import threading
from contextlib import suppress


class Cutting(threading.Thread):
    """Passes bytes on, until it is told to break."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(name="cutting", daemon=True)
        self._target = target
        self._lock = threading.Lock()
        self._cut: tuple[bool, int] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.start()

    def cut_after(self, count: int, *, answers: bool) -> None:
        """Break the connection on which so many bytes have come from now on."""
        with self._lock:
            self._cut = answers, count

    def mend(self) -> None:
        """Break nothing more."""
        with self._lock:
            self._cut = None

    def run(self) -> None:
        """Until `end`."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target, timeout=5)
                far.settimeout(None)
                for source, sink, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._forward, args=(source, sink, answers), daemon=True).start()

    def end(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(5)

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                passing = self._passing(len(data), answers)
                sink.sendall(data[:passing])
                if passing < len(data):
                    break
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()

    def _passing(self, count: int, answers: bool) -> int:
        with self._lock:
            if self._cut is None or self._cut[0] is not answers:
                return count
            left = self._cut[1]
            self._cut = None if count > left else (answers, left - count)
            return min(count, left)
