"""Which consumer groups of the application read which topics of the embedded broker."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class TopicReaders:
    """What a configuration says of the topics on the embedded broker.

    Attributes:
        groups: the groups that read a topic.
        others: the groups that may be told to read any other topic, by --queue.
        written: topics that nobody here reads.
        kept: topics that are the only record of failed jobs, so that all they hold counts as unread.
    """

    groups: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def every_group(self) -> list[str]:
        """Each group once."""
        return list(dict.fromkeys([*(group for groups in self.groups.values() for group in groups), *self.others]))

    def groups_of(self, topic: str, *, begun: Iterable[str]) -> Sequence[str] | None:
        """The groups that have to read a topic; None where each record of it counts as unread.

        Args:
            begun: those of the groups that have committed an offset of it.
        """
        if topic in self.kept:
            return None
        groups = list(dict.fromkeys([*self.groups.get(topic, ()), *begun]))
        if groups or topic in self.written:
            return groups
        # Nobody has begun it yet, and each may be told to. Where no group is known at all, nothing is given away.
        return self.others or None

    def encode(self) -> bytes:
        """As JSON, equal for equal contents."""
        return msgspec.json.encode(self, order="sorted")


def decode(data: bytes) -> TopicReaders:
    """What was encoded.

    Raises:
        ValueError: it is something else.
    """
    try:
        return msgspec.json.decode(data, type=TopicReaders)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def merged(several: Iterable[TopicReaders]) -> TopicReaders:
    """What several configurations say together: a topic that one of them reads is read."""
    groups: dict[str, dict[str, None]] = {}
    all_of = list(several)
    for each in all_of:
        for topic, readers in each.groups.items():
            groups.setdefault(topic, {}).update(dict.fromkeys(readers))

    def union(names: Iterable[list[str]]) -> list[str]:
        return list(dict.fromkeys(name for some in names for name in some))

    return TopicReaders(
        {topic: list(readers) for topic, readers in groups.items()},
        others=union(each.others for each in all_of),
        written=union(each.written for each in all_of),
        kept=union(each.kept for each in all_of),
    )
