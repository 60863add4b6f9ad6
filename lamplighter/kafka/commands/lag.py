"""`kafka:lag`: shows what is left of each partition, and what holds it up."""

import json
import signal
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lamplighter.console.command import Command
from lamplighter.console.output import cell
from lamplighter.errors import ConsoleError, LamplighterError, QueueError
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.monitoring.counting import Delayed
from lamplighter.kafka.monitoring.groups import GroupLag, GroupReader, Member
from lamplighter.kafka.monitoring.lag import PartitionLag, Retry

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADERS = ("partition", "committed", "end", "lag", "left", "held", "retries", "blocked at", "age", "owner")
MOST_LINES = 20  # of one kind below the table; --json has all
EMBEDDED_CANNOT = "The embedded broker can't tell who is in a group, nor for certain how the last owners have left."
DAY = 86_400.0  # seconds
COUNT_EVERY = 10.0  # seconds: counting what is delayed reads the delay topics


class LagCommand(Command):
    """Show what is left of each partition, and what holds it up."""

    name = "kafka:lag"
    description = "Show what is left of each partition, and what holds it up"

    def __init__(self, connections: KafkaConnections) -> None:
        self._connections = connections
        self._delayed = Delayed(None)
        self._counted_at = 0.0

    def handle(
        self,
        connection: Annotated[str, typer.Argument(help="The connection")] = "kafka",
        group: Annotated[str, typer.Option("--group", help="Another group than the connection's")] = "",
        topic: Annotated[str, typer.Option("--topic", help="These topics alone, separated by commas")] = "",
        watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C")] = False,
        every: Annotated[float, typer.Option("--every", help="Seconds between two looks of --watch")] = 1.0,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a look")] = False,
    ) -> None:
        """The committed offsets of a group, whether anybody is in it or not."""
        if not 0.1 <= every <= DAY:
            raise ConsoleError(f"--every is {every:g} seconds, and has to be 0.1 at least, and a day at most.")
        settings = self._connections.settings(connection)
        topics = [name.strip() for name in topic.split(",") if name.strip()]
        if topic and not topics:
            raise ConsoleError("--topic names no topic.")
        reader = GroupReader(settings, self._connections.client_config(connection), group=group)
        try:
            if watch:
                self._watch(reader, connection, topics, every=every, as_json=as_json)
            else:
                self._show(reader.read(topics), connection, as_json=as_json)
        finally:
            reader.close()

    def _show(self, found: GroupLag, connection: str, *, as_json: bool) -> None:
        delayed = self._count(found, connection)
        now = time.time()
        if as_json:
            self.output.line(json.dumps(_as_dict(found, delayed, now)))
            return
        self.output.table(HEADERS, _rows(found, now))
        for line in _summary(found, delayed, now):
            self.output.line(f"  {line}")

    def _watch(
        self, reader: GroupReader, connection: str, topics: Sequence[str], *, every: float, as_json: bool
    ) -> None:
        """Until Ctrl-C or TERM, which leave the terminal as it was, or until nobody reads any more."""
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        if not as_json and self.output.is_terminal:
            self._draw(reader, connection, topics, every=every, ended=ended)
            return
        while not ended.is_set() and self.output.has_reader:
            try:
                self._show(reader.read(topics), connection, as_json=as_json)
            except QueueError as error:
                self.output.error(str(error))
            ended.wait(every)

    def _draw(
        self,
        reader: GroupReader,
        connection: str,
        topics: Sequence[str],
        *,
        every: float,
        ended: threading.Event,
    ) -> None:
        from rich.live import Live

        found, error = GroupLag(""), ""
        with Live(auto_refresh=False, screen=True) as live:
            while not ended.is_set():
                try:
                    found, error = reader.read(topics), ""
                except QueueError as trouble:
                    error = str(trouble)  # what was seen last stays
                live.update(drawn(found, self._count(found, connection), error), refresh=True)
                ended.wait(every)

    def _count(self, found: GroupLag, connection: str) -> Delayed:
        """How many jobs come to these topics later; looked at again after some seconds."""
        now = time.monotonic()
        if not found.partitions or (self._counted_at and now - self._counted_at < COUNT_EVERY):
            return self._delayed
        self._counted_at = now
        topics = list(dict.fromkeys(lag.topic for lag in found.partitions))
        try:
            self._delayed = self._connections.queue(connection).counting.delayed(topics)
        except LamplighterError as error:
            # Without what is delayed the lag is still worth to be seen.
            self._delayed = Delayed(None, str(error))
        return self._delayed


def _as_dict(found: GroupLag, delayed: Delayed, now: float) -> dict[str, Any]:
    return {
        "group": found.group,
        "state": found.state or None,
        "protocol": found.protocol or None,
        "lag": sum(lag.lag for lag in found.partitions),
        "left": sum(lag.left for lag in found.partitions),
        "delayed": delayed.counts,
        "members": None if found.members is None else [_member(one) for one in found.members],
        "partitions": [
            {**lag.as_dict(now), "owner": _owner(found, lag), "left_cleanly": found.left_cleanly(lag)}
            for lag in found.partitions
        ],
    }


def _member(one: Member) -> dict[str, Any]:
    return {
        "id": one.id,
        "client": one.client,
        "host": one.host,
        "group_instance_id": one.instance or None,
        "partitions": [f"{topic}[{number}]" for topic, number in one.partitions],
    }


def _owner(found: GroupLag, lag: PartitionLag) -> str | None:
    number = found.owners.get((lag.topic, lag.number))
    return found.members[number - 1].id if number and found.members else None


def _rows(found: GroupLag, now: float) -> list[list[str]]:
    rows = []
    for lag in found.partitions:
        age = lag.age(now)
        rows.append(
            [
                str(lag),
                str(lag.committed) if lag.committed >= 0 else "",
                str(lag.end),
                str(lag.lag),
                str(lag.left),
                str(lag.held),
                str(len(lag.retries)),
                str(lag.blocking) if lag.blocking >= 0 else "",
                _span(age) if age is not None else "",
                _ownership(found, lag),
            ]
        )
    return rows


def _ownership(found: GroupLag, lag: PartitionLag) -> str:
    number = found.owners.get((lag.topic, lag.number))
    if number:
        return f"#{number}"
    return {True: "left in order", False: "not left in order", None: ""}[found.left_cleanly(lag)]


def _summary(found: GroupLag, delayed: Delayed, now: float) -> list[str]:
    total, left = (sum(getattr(lag, name) for lag in found.partitions) for name in ("lag", "left"))
    lines = [f"Group {found.group}: {_state(found)}. Lag {total}, of these at most {left} not finished."]
    lines += _first_of([note for lag in found.partitions for note in lag.notes()], "notes")
    lines += [f"Delayed, to come to {topic}: {count}." for topic, count in (delayed.counts or {}).items() if count]
    lines += [f"What is delayed can't be counted: {delayed.unknown}"] if delayed.unknown else []
    for number, one in enumerate(found.members or (), 1):
        name = f", group_instance_id {one.instance}" if one.instance else ""
        lines.append(f"#{number} {one.id} of {one.host}{name}: {_several(len(one.partitions), 'partition')}")
    lines += _first_of([_waiting(lag, retry, now) for lag in found.partitions for retry in lag.retries], "retries")
    return lines


def _first_of(lines: list[str], noun: str) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more} further {noun}: see --json"] if more > 0 else [])]


def _state(found: GroupLag) -> str:
    if found.members is None:
        return EMBEDDED_CANNOT.rstrip(".")
    if not found.members:
        return "nobody is in it"
    return f"{found.state}, {found.protocol} protocol, {_several(len(found.members), 'member')}"


def _waiting(lag: PartitionLag, retry: Retry, now: float) -> str:
    when = "in hand" if retry.in_hand else "due now"
    if retry.due / 1000 > now:
        when = f"due in {_span(retry.due / 1000 - now)}"
    return f"{lag}@{retry.offset} was started {_several(retry.retries, 'time')}: {when}"


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _span(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 12 min, 3.5 h, 2.1 d."""
    for size, unit, digits in ((86_400, "d", 1), (3_600, "h", 1), (60, "min", 0)):
        if seconds >= size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.1f} s"


def drawn(found: GroupLag, delayed: Delayed, error: str) -> "RenderableType":
    """The live table, what is told below it, and the last error."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = time.time()
    # Without a frame it fits into 80 columns.
    title = f"{cell(found.group)}  {time.strftime('%H:%M:%S')}"
    table = Table(title=Text(title), box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for header in HEADERS:
        table.add_column(header, justify="left" if header in ("partition", "owner") else "right", no_wrap=True)
    for row in _rows(found, now):
        table.add_row(*(Text(cell(word)) for word in row))
    below = [Text(cell(line)) for line in _summary(found, delayed, now)] if found.group else []
    return Group(table, *below, *([Text(cell(error), style="red")] if error else []))
