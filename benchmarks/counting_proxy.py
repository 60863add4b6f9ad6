"""Stands between a worker and its server, and counts how often the worker asks."""

import socket
import threading
from types import TracebackType


class CountingProxy:
    """Passes bytes on between its own port of loopback and the server's.

    Attributes:
        port: its own.
        round_trips: how often a client has sent something after the server had spoken, over all connections.
    """

    def __init__(self, server: int) -> None:
        self.round_trips = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()

    def __enter__(self) -> "CountingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            turn = Turn()
            threading.Thread(target=self._ask, args=(client, server, turn), daemon=True).start()
            threading.Thread(target=_answer, args=(server, client, turn), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, turn: "Turn") -> None:
        while data := _read(client):
            if turn.is_clients:
                turn.is_clients = False
                with self._lock:
                    self.round_trips += 1
            server.sendall(data)
        server.close()


class Turn:
    """Whose turn it is to speak on a connection."""

    is_clients = True


def _answer(server: socket.socket, client: socket.socket, turn: Turn) -> None:
    while data := _read(server):
        turn.is_clients = True
        client.sendall(data)
    client.close()


def _read(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:  # the other side has gone
        return b""
