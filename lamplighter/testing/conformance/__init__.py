"""What every connection promises, as pytest classes: a driver's own tests subclass them.

| class | what it looks at | what a subclass gives |
|---|---|---|
| `StoreConformance` | a `JobStore`: pushing, taking, leases, ends, sizes | `connect_store` |
| `QueueConformance` | a connection that a worker pops from | `connect`, or `config` |
| `WorkerConformance` | workers of the pools solo, thread and async, in this process | `connect`, or `config` |
| `ProcessConformance` | real worker processes: killed, frozen, restarted, in maintenance mode | `config` |

`Conformance` tells what else a subclass may say: how long a lease lasts, and what the driver lacks.
"""

import pytest

ROOMS = (
    "asking",
    "base",
    "carrying",
    "hands",
    "leases",
    "operators",
    "processes",
    "queues",
    "sharing",
    "stores",
    "workers",
)
pytest.register_assert_rewrite(*(f"{__name__}.{room}" for room in ROOMS))

from lamplighter.testing.conformance.base import PROMISES, Conformance  # noqa: E402
from lamplighter.testing.conformance.processes import ProcessConformance  # noqa: E402
from lamplighter.testing.conformance.queues import QueueConformance  # noqa: E402
from lamplighter.testing.conformance.stores import StoreConformance  # noqa: E402
from lamplighter.testing.conformance.workers import WorkerConformance  # noqa: E402

__all__ = [
    "PROMISES",
    "Conformance",
    "ProcessConformance",
    "QueueConformance",
    "StoreConformance",
    "WorkerConformance",
]
