"""The delays that have a topic of their own each, and the names of these topics."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lamplighter.queue.jobs.retries import LONGEST as LONGEST

SHORT = (1, 5, 15, 60, 300, 900)  # seconds
LONG = tuple(900 * 2**k for k in range(1, 12))  # up to 21 days; what is longer goes round once more
ALL = SHORT + LONG
BY_GROUP = ".delay."  # what follows the group in a prefix that is made of it


@dataclass(frozen=True, slots=True)
class Tiers:
    """The fixed delays of one connection, each with its topic; `seconds` rises."""

    prefix: str
    seconds: tuple[int, ...]

    def topics(self) -> list[str]:
        """The topics' names."""
        return [self.topic(seconds) for seconds in self.seconds]

    def topic(self, seconds: int) -> str:
        """The topic whose records wait for so long."""
        return f"{self.prefix}{seconds}"

    def seconds_of(self, topic: str) -> int:
        """How long the records of a topic wait."""
        return int(topic.removeprefix(self.prefix))

    def served(self, topics: Iterable[str]) -> "Tiers":
        """These, and what is longer among `topics`: delay_store was another when jobs were put there."""
        there = frozenset(topics)
        more = (seconds for seconds in LONG if seconds not in self.seconds and self.topic(seconds) in there)
        return replace(self, seconds=(*self.seconds, *more))

    def others(self, topics: Iterable[str]) -> list["Tiers"]:
        """Delay topics of other prefixes among `topics`, each with all that are there of it."""
        there = frozenset(topics)
        prefixes = {topic.removesuffix(str(SHORT[-1])) for topic in there if topic.endswith(str(SHORT[-1]))}
        found = [Tiers(prefix, SHORT) for prefix in sorted(prefixes - {self.prefix})]
        return [tiers.served(there) for tiers in found if there.issuperset(tiers.topics())]

    def has(self, topic: str) -> bool:
        """Whether this is the name of a delay topic of this prefix, be it in use or not."""
        return topic in map(self.topic, ALL)

    def choose(self, left: float) -> int:
        """The longest delay that is over before so many seconds are; else the shortest, which then is cut short."""
        return max((seconds for seconds in self.seconds if seconds <= left), default=self.seconds[0])
