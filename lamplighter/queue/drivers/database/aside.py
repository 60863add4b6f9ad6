"""Ends of leases that can't be told yet: another transaction has locked the row."""

import logging
from collections.abc import Collection, Sequence

from lamplighter.queue.drivers.database.reservation import Key
from lamplighter.queue.drivers.leasing.store import Ended, Lease

log = logging.getLogger(__name__)


class Aside:
    """What one worker has put aside, so that it can go on. Its leases are renewed until the ends are told."""

    def __init__(self) -> None:
        self._ends: dict[Lease, Ended] = {}

    def __bool__(self) -> bool:
        return bool(self._ends)

    def put(self, ends: Sequence[Ended]) -> None:
        """Tell them later."""
        for end in ends:
            self._ends[end.lease] = end
            log.warning(
                "a job has ended whose row another transaction keeps locked; should its lease run out, it runs again",
                extra={"position": _position(end)},
            )

    def others(self, ends: Sequence[Ended]) -> Sequence[Ended]:
        """Those that are not put aside."""
        return [end for end in ends if end.lease not in self._ends] if self._ends else ends

    def ends(self) -> list[Ended]:
        """All that there are."""
        return list(self._ends.values())

    def told(self, ends: Collection[Ended]) -> None:
        """They are told now."""
        for end in ends:
            self._ends.pop(end.lease, None)

    def keep(self, ends: Collection[Ended], keys: Collection[Key]) -> None:
        """Of these, forget those whose rows are not reserved as they were."""
        for end in ends:
            if end.lease.handle.key not in keys:
                self._ends.pop(end.lease, None)
                log.warning(
                    "the lease of a job that has ended ran out; it may run again", extra={"position": _position(end)}
                )

    def give_up(self) -> None:
        """The worker ends."""
        self.keep(self.ends(), ())


def _position(end: Ended) -> str:
    return f"{end.lease.queue}#{end.lease.mark}"
