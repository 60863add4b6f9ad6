"""`queue:monitor`: the sizes of queues, and which are too long."""

import json as json_module
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Events, Sizes
from lamplighter.errors import ConsoleError
from lamplighter.queue.events import QueueBusy
from lamplighter.queue.manager import QueueManager


class MonitorCommand(Command):
    """Monitor the size of the specified queues."""

    name = "queue:monitor"
    description = "Monitor the size of the specified queues"

    def __init__(self, queues: QueueManager, events: Events) -> None:
        self._queues = queues
        self._events = events

    def handle(
        self,
        queues: Annotated[str, typer.Argument(help="The queues, as connection:queue or queue, separated by commas")],
        most: Annotated[int, typer.Option("--max", min=0, help="The size from which a queue is too long")] = 1000,
        json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    ) -> None:
        """One line a queue; those that are too long are told to the listeners of QueueBusy."""
        found = [(*place, self._sizes(*place)) for place in self._places(queues)]
        rows = [
            {
                "connection": connection,
                "queue": queue,
                "size": sizes.pending,
                "pending": sizes.pending,
                "delayed": sizes.delayed,
                "status": "ALERT" if sizes.pending >= most else "OK",
                "notes": sizes.notes,
            }
            for connection, queue, sizes in found
        ]
        if json:
            self.output.line(json_module.dumps(rows, ensure_ascii=False))
        else:
            self.output.two_column("Queue name", "Size / Status")
            for row, (_, _, sizes) in zip(rows, found, strict=True):
                style = "red" if row["status"] == "ALERT" else "green"
                words = f"[{row['size']}] {row['status']}"
                self.output.two_column(f"[{row['connection']}] {row['queue']}", words, style=style)
                delayed = "unknown" if row["delayed"] is None else str(row["delayed"])
                self.output.two_column("  Delayed jobs", delayed)
                for note in sizes.notes:
                    self.output.line(f"  {note}")
        for why in dict.fromkeys(sizes.unknown for _, _, sizes in found if sizes.unknown):
            self.output.error(f"What is delayed can't be counted: {why}")
        for connection, queue, sizes in found:
            if sizes.pending >= most:
                self._events.dispatch(QueueBusy(connection, queue, sizes.pending))

    def _places(self, queues: str) -> list[tuple[str, str]]:
        places = []
        for word in (part.strip() for part in queues.split(",") if part.strip()):
            connection, colon, queue = (each.strip() for each in word.partition(":"))
            if colon and not (connection and queue):
                raise ConsoleError(f"{word!r} names no queue of a connection; name both, such as kafka:store.")
            places.append((connection, queue) if colon else (self._queues.default, word))
        if not places:
            raise ConsoleError("No queue is named; such as `queue:monitor kafka:store`.")
        return places

    def _sizes(self, connection: str, queue: str) -> Sizes:
        return self._queues.connection(connection).sizes(queue)
