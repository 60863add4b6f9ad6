"""What a `JobStore` promises to operators; a part of `StoreConformance`."""

import json
import time
from collections.abc import Sequence

import pytest

from lamplighter.contracts import HeldJob, Message
from lamplighter.queue.drivers.leasing.delayed import FindsDelayed
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore
from lamplighter.testing.conformance.asking import take, take_now
from lamplighter.testing.conformance.base import message, needs, number_of
from lamplighter.testing.conformance.leases import OnStores


class OperatorConformance(OnStores):
    """Clearing, and jobs that are due later."""

    @needs("clear", "two workers")
    def test_a_queue_is_cleared_of_what_waits_what_is_due_later_and_what_is_in_hand(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        delayed = int("delays" not in self.lacks)
        stays = int("clear_reserved" in store.lacks)
        store.push(queues[0], [message(n) for n in range(3)], 0)
        if delayed:
            store.push(queues[0], [message(9)], 30)
        [lease] = take(store, queues)

        count = other.clear(queues[0])

        assert count == 3 + delayed - stays
        sizes = other.sizes(queues[0])
        assert (sizes.pending, sizes.delayed, sizes.reserved) == (0, 0, stays)
        store.take((), 0, [Ended(lease, How.RELEASED)])
        assert len(take_now(other, queues)) == stays

    # what is due later ─────────────────────────────────────────────────────────────────────────────────────────────

    @needs("delays")
    def test_jobs_that_are_due_later_are_listed_the_earliest_first(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        finding = finding_of(store)
        first, second = queues
        began = time.time()
        store.push(first, [message(1)], 300)
        store.push(second, [message(2)], 200)
        store.push(first, [message(3)], 0)
        [lease] = take(store, queues)
        store.take((), 0, [Ended(lease, How.RELEASED, 250.0)])

        found = ours(finding_of(other).held(1000), queues)

        assert [job.queue for job in found] == [second, first, first]
        assert [round(job.due - began, -1) for job in found] == [200, 250, 300]
        assert {(job.name, job.can_cancel) for job in found} == {("probe", True)}
        assert len({job.id for job in found}) == 3
        assert len(finding.held(1)) == 1

    @needs("delays")
    @pytest.mark.parametrize("called", ["by its own id", "by its payload's"])
    def test_a_job_that_is_due_later_is_cancelled_and_no_other(
        self, store: JobStore, queues: tuple[str, str], called: str
    ) -> None:
        finding = finding_of(store)
        for n in range(3):
            store.push(queues[0], [message(n)], 300)
        one, *others = ours(finding.held(1000), queues)

        count = finding.cancel(one.id if called == "by its own id" else one.job_id)

        assert count == 1
        assert [job.id for job in ours(finding.held(1000), queues)] == [job.id for job in others]
        assert finding.cancel(one.job_id) == finding.cancel(one.id) == 0
        assert store.sizes(queues[0]).delayed == 2

    @needs("delays")
    @pytest.mark.parametrize("id", ["order/7 ünï \U0001f600", 'a"b\\c', "100%_!'", "\x00", "7"])
    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_an_id_is_found_however_it_is_written(
        self, store: JobStore, queues: tuple[str, str], id: str, ascii_only: bool
    ) -> None:
        finding = finding_of(store)
        for n, called in enumerate((id, id + "x", "x" + id, "other")):
            fields = {**json.loads(message(n).payload), "id": called}
            store.push(queues[1], [Message(json.dumps(fields, ensure_ascii=ascii_only).encode())], 300)

        assert finding.cancel(id) == 1

        left = ours(finding.held(1000), queues)
        assert store.sizes(queues[1]).delayed == len(left) == 3

    @needs("delays")
    def test_what_is_due_or_in_hand_is_not_cancelled(self, store: JobStore, queues: tuple[str, str]) -> None:
        finding = finding_of(store)
        jobs = [message(1), message(2)]
        store.push(queues[0], jobs, 0)
        [lease] = take(store, queues)

        assert [finding.cancel(json.loads(job.payload)["id"]) for job in jobs] == [0, 0]

        assert ours(finding.held(1000), queues) == []
        [second] = take(store, queues, ended=[Ended(lease, How.DELETED)])
        assert {number_of(each.payload) for each in (lease, second)} == {1, 2}


def finding_of(store: JobStore) -> FindsDelayed:
    """The store as it finds delayed jobs, or a skipped test with its own reason."""
    if not isinstance(store, FindsDelayed):
        pytest.skip(store.lacks["held"])
    return store


def ours(jobs: Sequence[HeldJob], queues: tuple[str, str]) -> list[HeldJob]:
    """Those of the test's own queues."""
    return [job for job in jobs if job.queue in queues]
