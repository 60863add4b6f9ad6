"""`queue:monitor`: the sizes of queues, and which are too long."""

import json as json_module
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.contracts import Events, Sizes
from lamplighter.errors import CacheError, ConsoleError, QueueError
from lamplighter.queue.commands.target import place_of
from lamplighter.queue.dispatching.deferring import deferring
from lamplighter.queue.events import QueueBusy
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.manager import QueueManager


@dataclass(frozen=True, slots=True)
class Found:
    """One queue; `sizes` is None where it could not be counted, and `error` says why."""

    connection: str
    queue: str
    sizes: Sizes | None
    is_paused: bool | None = False  # None where that can't be seen
    error: str = ""

    def status(self, most: int) -> str:
        """In one word."""
        if self.sizes is None:
            return "UNKNOWN"
        return "ALERT" if self.sizes.pending >= most else "OK"

    def fields(self, most: int, now: float) -> dict[str, Any]:
        """For programs."""
        sizes = self.sizes
        oldest = None if sizes is None or sizes.oldest is None else round(max(0.0, now - sizes.oldest), 3)
        return {
            "connection": self.connection,
            "queue": self.queue,
            "size": None if sizes is None else sizes.pending,
            "pending": None if sizes is None else sizes.pending,
            "delayed": None if sizes is None else sizes.delayed,
            "reserved": None if sizes is None else sizes.reserved,
            "oldest_pending": oldest,
            "paused": self.is_paused,
            "status": self.status(most),
            "notes": () if sizes is None else sizes.notes,
        } | ({"error": self.error} if self.error else {})


class MonitorCommand(Command):
    """Monitor the size of the specified queues."""

    name = "queue:monitor"
    description = "Monitor the size of the specified queues"

    def __init__(self, queues: QueueManager, events: Events, cache: Cache) -> None:
        self._queues = queues
        self._events = events
        self._cache = cache

    def handle(
        self,
        queues: Annotated[str, typer.Argument(help="The queues, as connection:queue or queue, separated by commas")],
        most: Annotated[int, typer.Option("--max", min=0, help="The size from which a queue is too long")] = 1000,
        json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
        fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 if a queue is too long")] = False,
    ) -> int:
        """Some lines a queue; those that are too long are told to the listeners of QueueBusy.

        The exit code is 1 where a queue could not be counted; the others are shown all the same.
        """
        found = [self._look(*place) for place in self._places(queues)]
        now = time.time()
        if json:
            rows = [one.fields(most, now) for one in found]
            self.output.line(json_module.dumps(rows, ensure_ascii=False))
        else:
            self._show(found, most, now)
        for why in dict.fromkeys(one.sizes.unknown for one in found if one.sizes and one.sizes.unknown):
            self.output.error(f"What is delayed can't be counted: {why}")
        for why in dict.fromkeys(one.error for one in found if one.error):
            self.output.error(why)
        busy = [one for one in found if one.sizes is not None and one.status(most) == "ALERT"]
        for one in busy:
            assert one.sizes is not None
            with deferring():  # the exit code is an answer, for which nothing of a listener's is to be dropped
                self._events.dispatch(QueueBusy(one.connection, one.queue, one.sizes.pending))
        return 1 if (busy and fail) or any(one.sizes is None for one in found) else 0

    def _show(self, found: Sequence[Found], most: int, now: float) -> None:
        self.output.two_column("Queue name", "Size / Status")
        for one in found:
            status, sizes = one.status(most), one.sizes
            words = f"[{'unknown' if sizes is None else sizes.pending}] {status}{' PAUSED' if one.is_paused else ''}"
            style = "green" if status == "OK" and not one.is_paused else "yellow" if status == "OK" else "red"
            self.output.two_column(f"[{one.connection}] {one.queue}", words, style=style)
            if sizes is None:
                continue
            self.output.two_column("  Pending jobs", str(sizes.pending))
            self.output.two_column("  Delayed jobs", "unknown" if sizes.delayed is None else str(sizes.delayed))
            self.output.two_column("  Reserved jobs", str(sizes.reserved))
            if sizes.oldest is not None:
                self.output.two_column("  Oldest pending job", f"{max(0.0, now - sizes.oldest):.0f} s ago")
            for note in sizes.notes:
                self.output.line(f"  {note}")

    def _places(self, queues: str) -> list[tuple[str, str]]:
        places = [place_of(part.strip(), self._queues) for part in queues.split(",") if part.strip()]
        if not places:
            raise ConsoleError("No queue is named; such as `queue:monitor kafka:store`.")
        return list(dict.fromkeys(places))

    def _look(self, connection: str, queue: str) -> Found:
        target = self._queues.connection(connection)
        try:
            sizes = target.sizes(queue)
        except QueueError as error:
            return Found(connection, queue, None, self._is_paused(connection, queue), str(error))
        return Found(connection, queue, sizes, self._is_paused(connection, queue))

    def _is_paused(self, connection: str, queue: str) -> bool | None:
        try:
            return bool(PauseSignals(self._cache, self._queues.names_of).paused(connection, [queue]))
        except CacheError as error:
            self.output.error(f"Whether {connection}:{queue} is paused can't be seen. {error}")
            return None
