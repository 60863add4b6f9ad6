"""A process slot from within: an ordinary worker, whose queue is the socket to the one that started it."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue

from lamplighter.contracts import Headers, Message
from lamplighter.queue.delivery import DriverDelivery, WorkQueue
from lamplighter.queue.pools.wire import Began, Ended, Frames, Ready, Run, Stop, frame, receive, to_slot

GONE = 1  # exit code of a slot whose worker is gone
MOST_TEXT = 2000  # characters of an error that travel


class SlotDelivery:
    """A delivery that another process holds; what becomes of it is told to that one."""

    failure: BaseException | None = None
    has_crashed = False

    def __init__(self, run: Run, queue: "SlotQueue") -> None:
        self._run = run
        self._queue = queue
        self.payload = run.payload
        self.key = run.key
        self.headers: Headers = run.headers
        self.queue = run.queue
        self.connection = run.connection
        self.position = run.position
        self.timestamp_ms = run.timestamp_ms
        self.retries = run.retries
        self.excused = run.excused

    def delete(self) -> None:
        """Done."""
        self._queue.end(Ended(self._run.number, "delete"))

    def release(self, delay: float, *, counted: bool = True) -> None:
        """To be run again."""
        self._queue.end(Ended(self._run.number, "release", delay, counted))

    def keep(self) -> None:
        """It is in hand until it is ended anyway."""

    def fail(self, error: BaseException) -> None:
        """Recorded as failed."""
        self._queue.end(Ended(self._run.number, "fail"))
        self._queue.explain(error)


class SlotQueue:
    """The connection as a slot sees it: deliveries come over the socket, pushes go to the brokers themselves."""

    def __init__(self, connection: socket.socket, target: WorkQueue) -> None:
        self.connection = target.connection
        self.default_queue = target.default_queue
        self.max_message_bytes = target.max_message_bytes
        self.deadlock_wait = target.deadlock_wait
        self.is_over = False
        self._socket = connection
        self._target = target
        self._inbox: SimpleQueue[Run | Stop] = SimpleQueue()
        self._sending = threading.Lock()
        self._end: Ended | None = None

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """As the connection itself does."""
        self._target.push(message, queue=queue, delay=delay)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """As the connection itself does."""
        return self._target.bulk(messages, queue=queue)

    def open(self, names: Sequence[str], bell: "SimpleQueue[object]") -> None:
        """Begin to listen."""
        threading.Thread(target=self._listen, name="lamplighter-slot-socket", daemon=True).start()
        self.tell(Ready(os.getpid()))

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """The next delivery; None when there is none in time, or none will come."""
        self._tell_the_end()
        try:
            message = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
        except Empty:
            return None
        if isinstance(message, Stop):
            self.is_over = True
            return None
        self.tell(Began(message.number))
        return SlotDelivery(message, self)

    def serve(self, wait: float) -> None:
        """Nothing is acknowledged later."""
        time.sleep(min(wait, 0.01))

    def is_exhausted(self) -> bool:
        """Whether nothing more will come."""
        return self.is_over

    def polled_at(self) -> float:
        """The socket's thread lives as long as the process."""
        return time.monotonic()

    def end(self, end: Ended) -> None:
        """Keep what has become of the job at hand until it is known why."""
        self._end = end

    def explain(self, error: BaseException | None) -> None:
        """Say why the job at hand is to be run again, or has failed."""
        if self._end is not None and error is not None:
            self._end.error_class, self._end.error = type(error).__name__, _text(error)

    def _tell_the_end(self) -> None:
        if self._end is not None:
            end, self._end = self._end, None
            self.tell(end)

    def tell(self, message: Began | Ended | Ready) -> None:
        """Say something to the worker that started this process."""
        with self._sending:
            self._socket.sendall(frame(message))

    def close(self, *, timeout: float) -> bool:
        """Wait for what is being sent to the brokers."""
        return self._target.close(timeout=timeout)

    def _listen(self) -> None:
        frames = Frames()
        while data := receive(self._socket):
            for one in frames.feed(data):
                self._inbox.put(to_slot.decode(one))
        # Whoever started us is gone, and with it the right to settle anything: an orphan must not work on.
        os._exit(GONE)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:MOST_TEXT]
    except Exception:
        return ""  # an exception may have anything for a text


def leave_signals_to_the_worker() -> None:
    """Ctrl-C reaches the whole terminal; the worker tells its slots when they have to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
