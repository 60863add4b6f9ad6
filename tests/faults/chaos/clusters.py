"""The brokers that rounds run on: one that nobody harms, and others that may be killed and frozen."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.chaos.drawing import HARM
from tests.faults.chaos.plan import Round
from tests.harness import Broker, Node, free_ports


@dataclass(frozen=True)
class Cluster:
    """Where a round's topics are; `node` is there where its brokers may be harmed."""

    broker: Broker
    nodes: int = 1
    node: Node | None = None


class Clusters:
    """Lends clusters to one round after the other; those of its own are started when they are first needed."""

    def __init__(self, shared: Broker, folder: Path) -> None:
        self._shared = Cluster(shared)
        self._folder = folder
        self._own: dict[int, Cluster] = {}

    @contextmanager
    def lend(self, round: Round) -> Iterator[Cluster]:
        """A cluster for a round: for it alone, where it harms brokers or needs three of them."""
        count = round.setting.nodes
        if count == 1 and not any(one.kind in HARM for one in round.disturbances):
            yield self._shared
            return
        cluster = self._own.get(count) or self._start(count)
        try:
            yield cluster
        finally:
            self._heal(cluster)

    def close(self) -> None:
        """End those that were started."""
        for cluster in self._own.values():
            assert cluster.node is not None
            cluster.node("down")

    def _start(self, count: int) -> Cluster:
        folder = self._folder / f"kafka-{count}"
        folder.mkdir()
        node = Node(folder, free_ports(10 * count), nodes=count)
        self._own[count] = Cluster(Broker(node.address), count, node)
        return self._own[count]

    def _heal(self, cluster: Cluster) -> None:
        """Whatever a round has left of it, all nodes serve afterwards."""
        assert cluster.node is not None
        for number in range(1, cluster.nodes + 1):
            with suppress(AssertionError):  # it is not running
                cluster.node("thaw", str(number))
            cluster.node("start", str(number))
