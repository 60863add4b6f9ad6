"""A process slot from within: an ordinary worker, whose queue is the socket to the one that started it."""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from lamplighter.contracts import DriverDelivery, HasFurtherStart, Headers, Message, WorkQueue
from lamplighter.errors import SlotTerminated
from lamplighter.queue.failed.trace import format_trace, message
from lamplighter.queue.guard.signals import OF_SLOTS, QUIT, leave_to_their_defaults
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.pools.process.wire import (
    Began,
    Ended,
    Error,
    Failing,
    Frames,
    Ready,
    Recorded,
    Run,
    RunMany,
    Stop,
    frame,
    receive,
    to_slot,
)
from lamplighter.queue.worker.failing import Failing as WorkersFailing
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.support.early_signals import let_through
from lamplighter.support.foreign import path_of

# The exit code of a slot whose worker is gone, and with it the right to settle anything: an orphan must not work on.
GONE = 1
BROKEN_OFF = 128 + signal.SIGTERM  # exit code of one whose job was broken off
MOST_TEXT = 2000  # characters of an error that travel


class SlotDelivery:
    """A delivery that another process holds; what becomes of it is told to that one.

    Attributes:
        others: what is to be run in one call with it, until it is begun.
    """

    failure: BaseException | None = None
    is_recorded = False
    is_suspect = False
    singly = False

    def __init__(self, run: Run, queue: "SlotQueue", others: "Sequence[SlotDelivery]" = ()) -> None:
        self._run = run
        self._queue = queue
        self.others = others
        self.payload = run.payload
        self.key = run.key
        self.headers: Headers = run.headers
        self.queue = run.queue
        self.connection = run.connection
        self.position = run.position
        self.timestamp_ms = run.timestamp_ms
        self.retries = run.retries
        self.has_crashed = run.has_crashed
        self.excused = run.excused

    def delete(self) -> None:
        """Done."""
        self._queue.end(Ended(self._run.number, "delete"))

    def release(self, delay: float, *, counted: bool = True) -> None:
        """To be run again."""
        self._queue.end(Ended(self._run.number, "release", delay, counted))

    def keep(self) -> None:
        """It is in hand until it is ended anyway."""

    def put_back(self) -> None:
        """To be begun by itself."""
        self._queue.end(Ended(self._run.number, "again"))

    def follows(self, other: DriverDelivery) -> bool:
        """The worker knows, which puts back what has to be."""
        return False

    def fail(self, error: BaseException) -> None:
        """Recorded as failed."""
        self._queue.end(Ended(self._run.number, "fail"))
        self._queue.explain(error)

    def count_crash(self) -> bool:
        """Say what has become of those before it; the worker sees by the end of this process what has become of it."""
        self._queue.tell_now()
        return False

    def hold(self, refusal: BaseException) -> None:
        """It waits for its record, which the worker is to write."""
        self._queue.end(Ended(self._run.number, "hold"))
        self._queue.explain(refusal)

    def tell_failing(self, error: BaseException) -> None:
        """It has failed with this error, and is about to be recorded."""
        self._queue.tell_now(Failing(self._run.number, describe(error)))

    def tell_recorded(self) -> None:
        """It is among the failed jobs, and its `failed()` is about to be called."""
        self._queue.tell_now(Recorded(self._run.number))


class SlotQueue(KeepsNoJobs):
    """The connection as a slot sees it: deliveries come over the socket, pushes go to the brokers themselves.

    `told` is set when the worker says that the slot has to end.
    """

    def __init__(self, connection: socket.socket, target: WorkQueue, told: threading.Event) -> None:
        self.connection = target.connection
        self.default_queue = target.default_queue
        self.deadlock_wait = target.deadlock_wait
        self.is_over = False
        self.served_by = target.served_by = os.getpid()
        self._socket = connection
        self._target = target
        self._told = told
        self._inbox: SimpleQueue[Run | RunMany | Stop] = SimpleQueue()
        self._sending = threading.Lock()
        self._ends: list[Ended] = []
        self._last: SlotDelivery | None = None

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """As the connection itself does."""
        self._target.push(message, queue=queue, delay=delay)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """As the connection itself does."""
        return self._target.bulk(messages, queue=queue)

    def open(
        self,
        names: Sequence[str],
        bell: "SimpleQueue[object]",
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Begin to listen."""
        threading.Thread(target=self._listen, name="lamplighter-slot-socket", daemon=True).start()
        self.tell(Ready(os.getpid()))

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """The next delivery; None when there is none in time, or none will come."""
        self.tell_now()
        if self._last is not None and self._last.others:
            # It could not be read, so that no call was made: the next one takes its place.
            self._last, *left = self._last.others
            self._last.others = left
            return self._last
        try:
            message = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
        except Empty:
            return None
        if isinstance(message, Stop):
            self.is_over = True
            return None
        first, *others = message.runs if isinstance(message, RunMany) else [message]
        self.tell(Began(first.number))
        self._last = SlotDelivery(first, self, [SlotDelivery(run, self) for run in others])
        return self._last

    def pause(self, names: Collection[str]) -> None:
        """The worker takes the jobs."""

    def read_claim(self, delivery: DriverDelivery) -> bytes:
        """As the connection itself does."""
        return self._target.read_claim(delivery)

    def serve(self, wait: float) -> None:
        """As the connection itself does."""
        self._target.serve(wait)

    def is_exhausted(self) -> bool:
        """Whether nothing more will come."""
        return self.is_over

    def polled_at(self) -> float:
        """The socket's thread lives as long as the process."""
        return time.monotonic()

    def stall(self, *, is_busy: bool) -> str | None:
        """The worker looks after its slots."""
        return None

    def end(self, end: Ended) -> None:
        """Keep what has become of a job until it is known why."""
        self._ends.append(end)

    def explain(self, error: BaseException | None) -> None:
        """Say why the last job that has ended is to be run again, or has failed."""
        if self._ends and error is not None:
            self._ends[-1].error = describe(error)

    def tell_now(self, *messages: Failing | Recorded) -> None:
        """Say something of a job that has not ended yet, after what has become of those before it."""
        ends, self._ends = self._ends, []
        if ends or messages:
            self.tell(*ends, *messages)

    def tell(self, *messages: Began | Failing | Recorded | Ended | Ready) -> None:
        """Say something to the worker that started this process."""
        try:
            with self._sending:
                self._socket.sendall(b"".join(map(frame, messages)))
        except ConnectionError:
            os._exit(GONE)

    def close(self, *, timeout: float) -> bool:
        """Wait for what is being sent to the brokers."""
        return self._target.close(timeout=timeout)

    def _listen(self) -> None:
        frames = Frames()
        while data := receive(self._socket):
            for one in frames.feed(data):
                message = to_slot.decode(one)
                if isinstance(message, Stop):
                    self._told.set()
                self._inbox.put(message)
        os._exit(GONE)


def others_of(delivery: DriverDelivery) -> Sequence[DriverDelivery]:
    """What is to be run in one call with a delivery, as the worker has decided; it is the caller's then."""
    assert isinstance(delivery, SlotDelivery)  # its queue gives no others
    others, delivery.others = delivery.others, ()
    return others


class SlotFailing(WorkersFailing):
    """Tells the worker how far the end of a failed job has come, so that nothing of it is done twice.

    The worker gives it the time that the end of a failed job has; and whatever becomes of this process, it knows the
    job's own error, and whether `failed()` has been called.
    """

    def record(self, start: Start, error: BaseException) -> None:
        """Write the failure into the failed-job store, between two words to the worker."""
        delivery = start.delivery
        assert isinstance(delivery, SlotDelivery)  # its queue gives no others
        delivery.tell_failing(error)
        super().record(start, error)
        delivery.tell_recorded()

    def hold(self, start: Start, error: BaseException, refusal: Exception) -> None:
        """Leave it to the worker, which keeps the job in its place together with its failure."""
        assert isinstance(start.delivery, SlotDelivery)
        start.delivery.hold(refusal)


class Handling:
    """Which handler runs.

    Attributes:
        start: whose handler runs now.
        broken_off: whose handler was broken off by TERM.
    """

    start: Start | None = None
    broken_off: Start | None = None


class SlotRunner(Runner):
    """Runs jobs that the worker may break off by TERM."""

    def __init__(self, *arguments: Any, handling: Handling, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._handling = handling

    def run(self, start: Start) -> None:
        """Handle the job. Whatever it makes of being broken off is not its own end: that is left to the worker.

        But what it has asked for by `delete`, `release` or `fail` holds, as at any timeout; and when it returns, it is
        done.
        """
        handling = self._handling
        handling.start = start
        try:
            super().run(start)
        except BaseException as error:
            if handling.broken_off is not start:
                raise
            if start.wish is None:
                raise SlotTerminated(BROKEN_OFF) from error
        finally:
            handling.start = None


def describe(error: BaseException) -> Error:
    """An error as the worker is told of it."""
    return Error(*path_of(error), message(error)[:MOST_TEXT], format_trace(error))


def leave_signals_to_the_worker(told: threading.Event, handling: Handling) -> None:
    """A signal may reach every process of a terminal or a service; the worker tells its slots when they have to end.

    TERM then ends the handler that runs as an exception would, so that it can put its things away. It ends nothing of
    the framework's: neither a record that is being written, nor what is said to the worker.
    """

    def obey(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and told.is_set() and handling.start is not None:
            handling.broken_off = handling.start
            raise SlotTerminated(BROKEN_OFF)

    # Handlers, since what is ignored would be ignored by the programs that jobs start, too.
    handled = (*QUIT, signal.SIGUSR2)
    for number in handled:
        signal.signal(number, obey)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    leave_to_their_defaults(handled)
    let_through(OF_SLOTS)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def join_the_worker(descriptor: int) -> socket.socket:
    """The socket to the worker. No process that a job starts has it, so that the worker sees when the slot is gone."""
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    os.register_at_fork(after_in_child=connection.close)
    return connection
