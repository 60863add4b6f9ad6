"""What `queue:work` prints of its jobs: formatted here, cached by the second, written a batch at a time."""

import json
import logging
import threading
import time
from datetime import datetime, tzinfo
from typing import Any

import msgspec

from lamplighter.console.output import Output
from lamplighter.contracts import Events
from lamplighter.queue.events import (
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleased,
    WorkerIdle,
    WorkerQueuePaused,
    WorkerQueueResumed,
)
from lamplighter.queue.failed.trace import message
from lamplighter.queue.worker.runner import Start
from lamplighter.support.foreign import name_of
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

BATCH = 500  # lines that wait at most
MOST_NAMES = 1000  # names of jobs that are kept with their dots
LONGEST_NAME = 255  # letters of a name that are shown
START_MARGIN = 33  # columns beside the name and the dots: indent, time stamp, RUNNING
END_MARGIN = 31  # columns beside the name, the dots and the run time: indent, time stamp, DONE or FAIL

GRAY, GREEN, YELLOW, RED, BOLD, RESET = "\x1b[90m", "\x1b[32;1m", "\x1b[33;1m", "\x1b[31;1m", "\x1b[1m", "\x1b[0m"


class Lines:
    """One line when a job begins and one when it ends, as people read them."""

    def __init__(self, output: Output, zone: tzinfo) -> None:
        self._output = output
        self._zone = zone
        self._waiting: list[str] = []
        self._is_cut = False
        self._lock = threading.Lock()
        self._second_ends = 0.0  # on the monotonic clock
        self._stamp = ""
        self._middles: dict[tuple[str, int], str] = {}
        # Of the present second, by the job's name: the lines that begin a job, and those that end one that took so
        # many hundredths of a millisecond.
        self._begins: dict[str, str] = {}
        self._ends: dict[tuple[str, int], str] = {}
        self._running = self._paint(YELLOW, "RUNNING")
        self._is_plain = output.verbosity < 1
        watch(self, in_child=Lines._begin_as_child, locks=lambda lines: (lines._lock,))

    def listen(self, events: Events) -> None:
        """Print what these events tell."""
        events.listen(JobProcessing, self.on_processing)
        events.listen(JobProcessed, self.on_processed)
        events.listen(JobReleased, self.on_released)
        events.listen(JobFailed, self.on_failed)
        events.listen(WorkerIdle, lambda _: self.flush())
        events.listen(WorkerQueuePaused, lambda event: self.on_queue(event.queue, "paused"))
        events.listen(WorkerQueueResumed, lambda event: self.on_queue(event.queue, "resumed"))

    def flush(self) -> None:
        """Write what waits; the watching thread calls this ten times a second."""
        if not self._waiting:
            return
        with self._lock:
            lines, self._waiting = self._waiting, []
            try:
                self._output.write("".join(lines))
                self._is_cut = False
            except OSError as error:
                # No job fails because the disk under the worker's output is full. Each outage is told once.
                if not self._is_cut:
                    log.error("the lines of jobs can't be written", extra={"reason": str(error)})
                self._is_cut = True

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._waiting = []  # the parent writes them

    def on_processing(self, event: JobProcessing) -> None:
        """A job begins."""
        start = event.start
        if start.began >= self._second_ends:
            self._next_second()
        name = start.name if self._is_plain else self._long_name(start)
        line = self._begins.get(name)
        if line is None:
            line = self._begins[name] = f"  {self._stamp} {self._middle(name, START_MARGIN)} {self._running}\n"
        self._add(line)

    def on_processed(self, event: JobProcessed) -> None:
        """A job has come to its end."""
        start, duration = event.start, event.duration
        # Not by its run time alone: what it has pushed may have been waited for since.
        if time.monotonic() >= self._second_ends:
            self._next_second()
        name = start.name if self._is_plain else self._long_name(start)
        took = int(duration * 100_000 + 0.5)
        line = self._ends.get((name, took))
        if line is None:
            line = self._ends[name, took] = self._end(name, took / 100_000, GREEN, "DONE")
        self._add(line)

    def on_released(self, event: JobReleased) -> None:
        """A job will run again."""
        if event.error is None:
            self._add_end(event.start, event.duration, GREEN, "DONE")
        else:
            self._add_end(event.start, event.duration, YELLOW, "FAIL")

    def on_failed(self, event: JobFailed) -> None:
        """A job has failed for good."""
        self._add_end(event.start, event.duration, RED, "FAIL")

    def on_queue(self, queue: str, status: str) -> None:
        """A queue is paused, or goes on; told by another thread than that of the jobs."""
        stamp = self._paint(GRAY, datetime.now(self._zone).strftime("%Y-%m-%d %H:%M:%S"))
        self._add_beside(f"  {stamp} Queue {_shown(queue)} {self._paint(YELLOW, status.upper())}\n")

    def _add_beside(self, line: str) -> None:
        with self._lock:
            self._waiting.append(line)

    def _add_end(self, start: Start, duration: float, colour: str, word: str) -> None:
        if time.monotonic() >= self._second_ends:
            self._next_second()
        name = start.name if self._is_plain else self._long_name(start)
        self._add(self._end(name, duration, colour, word))

    def _end(self, name: str, duration: float, colour: str, word: str) -> str:
        took = run_time(duration)
        middle = self._middle(name, END_MARGIN + len(took))
        return f"  {self._stamp} {middle} {self._paint(GRAY, took)} {self._paint(colour, word)}\n"

    def _middle(self, name: str, margin: int) -> str:
        """A job's name and the dots behind it; the same for most jobs, so it is kept."""
        middle = self._middles.get((name, margin))
        if middle is None:
            if len(self._middles) > MOST_NAMES:
                self._middles.clear()
            middle = self._with_dots(name, margin)
            if len(name) <= LONGEST_NAME:
                self._middles[name, margin] = middle
        return middle

    def _with_dots(self, name: str, margin: int) -> str:
        # Anyone may have written the name: it must not steer the terminal, nor look like other lines.
        shown = _shown(name)
        dots = "." * max(0, self._output.width - len(shown) - margin)
        return f"{shown} {self._paint(GRAY, dots) if dots else dots}"

    def _long_name(self, start: Start) -> str:
        delivery = start.delivery
        return f"{start.name} {start.id} {delivery.connection} {delivery.queue}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{RESET}" if self._output.ansi else text

    def _next_second(self) -> None:
        """Look at the clock: most jobs need not, they know how long they took."""
        now = time.time()
        self._second_ends = time.monotonic() + 1 - now % 1
        stamp = datetime.fromtimestamp(int(now), self._zone).strftime("%Y-%m-%d %H:%M:%S")
        self._stamp = self._paint(GRAY, stamp)
        self._begins.clear()
        self._ends.clear()

    def _add(self, line: str) -> None:
        self._waiting.append(line)
        if len(self._waiting) >= BATCH:
            self.flush()


class JsonLines(Lines):
    """The same, one JSON object a line, with the keys of Laravel's `--json`; what is empty is left out."""

    def on_processing(self, event: JobProcessing) -> None:
        """A job begins."""
        self._object("info", event.start, status="starting")

    def on_processed(self, event: JobProcessed) -> None:
        """A job has come to its end."""
        self._object("info", event.start, status="success", result="deleted", duration=event.duration)

    def on_released(self, event: JobReleased) -> None:
        """A job will run again."""
        if event.error is None:
            self._object("info", event.start, status="success", result="released", duration=event.duration)
            return
        self._object(
            "warning",
            event.start,
            status="released_after_exception",
            result="released",
            error=event.error,
            duration=event.duration,
        )

    def on_failed(self, event: JobFailed) -> None:
        """A job has failed for good."""
        self._object(
            "warning", event.start, status="failed", result="deleted", error=event.error, duration=event.duration
        )

    def on_queue(self, queue: str, status: str) -> None:
        """A queue is paused, or goes on."""
        stamp = datetime.now(self._zone).isoformat(timespec="microseconds")
        self._add_beside(_json({"level": "warning", "queue": queue, "status": status, "timestamp": stamp}) + "\n")

    def _object(
        self,
        level: str,
        start: Start,
        *,
        status: str,
        result: str = "",
        error: BaseException | None = None,
        duration: float = 0.0,
    ) -> None:
        delivery = start.delivery
        fields: dict[str, Any] = {
            "level": level,
            "id": start.id,
            "uuid": start.uuid,
            "connection": delivery.connection,
            "queue": delivery.queue,
            "job": start.name,
            "status": status,
            "result": result,
            "attempts": start.attempts,
            "exception": name_of(error) if error is not None else None,
            "message": message(error) if error is not None else None,
            "timestamp": datetime.now(self._zone).isoformat(timespec="microseconds"),
            "duration": round(duration, 6),
        }
        self._add(_json({key: value for key, value in fields.items() if value}) + "\n")


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:LONGEST_NAME])


def _json(fields: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:  # half of a surrogate pair in a name or an id, which come from the wire
        return json.dumps(fields, separators=(",", ":"))


def run_time(seconds: float) -> str:
    """How long a job took, as Laravel says it: `1.78ms` up to a second, `2s`, `1m 5s` beyond."""
    milliseconds = seconds * 1000
    if milliseconds < 1000:
        return f"{milliseconds:.2f}ms"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return " ".join(f"{count}{unit}" for count, unit in parts if count)
