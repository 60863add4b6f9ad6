"""greenstalk's client, which reads each value of the server as the text that it is."""

from typing import Any

import greenstalk

from lamplighter.errors import QueueError


class Stats(dict[str, str]):
    """What the server tells of itself, a tube or a job, by name. greenstalk makes numbers of names like `007`."""

    def number(self, name: str) -> int:
        """A count, or seconds.

        Raises:
            QueueError: it is none, or is not there.
        """
        try:
            return int(self[name])
        except ValueError as error:
            raise QueueError(f"beanstalkd tells no number {name!r}: {self[name]!r}.") from error

    def __missing__(self, name: str) -> str:
        raise QueueError(f"beanstalkd does not tell {name!r}.")


class Client(greenstalk.Client[bytes]):
    """Has its answers in bytes, and `Stats` in place of greenstalk's."""

    def _stats_cmd(self, cmd: bytes) -> Any:
        return parse_stats(self._read_chunk(self._int_cmd(cmd, b"OK")))


def parse_stats(text: bytes) -> Stats:
    """The lines `name: value` of a YAML dictionary, as beanstalkd writes it.

    Raises:
        ValueError: it is none.
    """
    head, *lines = text.decode("ascii").rstrip("\n").split("\n")
    if head != "---":
        raise ValueError(f"an answer begins with {head[:40]!r}")
    stats = Stats()
    for line in lines:
        name, separator, value = line.partition(": ")
        if not separator:
            raise ValueError(f"an answer has the line {line[:40]!r}")
        is_quoted = len(value) >= 2 and value[0] == value[-1] == '"'
        stats[name] = value[1:-1] if is_quoted else value
    return stats
