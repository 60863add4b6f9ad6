"""The numbers of a partition, from what its commit says; and kafka:lag on the embedded broker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.kafka.monitoring.lag import PartitionLag, Retry, measure, measure_own
from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition
from tests.harness import Project


@pytest.fixture
def project(tmp_path: Path, framework: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    project = Project(
        tmp_path, environment={"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    )
    yield project
    project.close()


def lag(*, committed: int, end: int, handover: OffsetMap | None = None, start: int = 0) -> PartitionLag:
    """The numbers of store[0]."""
    text = handover.encode(committed) if handover is not None else None
    return measure("store", 0, committed=committed, metadata=text, start=start, end=end)


def test_finished_ones_beyond_the_committed_offset_are_not_left() -> None:
    handover = OffsetMap(reach=20, is_clean=False, frontier=9, unfinished=(3, 5), marks={3: Mark(2, 99_000)})

    found = lag(committed=3, end=12, handover=handover)

    # 4, 6, 7 and 8 are finished; 3 waits, 5 is in hand or behind another; 9, 10 and 11 were not begun.
    assert (found.lag, found.beyond, found.left, found.held) == (9, 4, 5, 1)
    assert found.retries == [Retry(3, 2, 99_000)]
    assert found.is_clean is False


@pytest.mark.parametrize(
    ("committed", "start", "end", "from_end", "expected"),
    [
        (-1001, 0, 7, False, 7),
        (-1001, 4, 7, False, 3),
        (-1001, 4, 7, True, 0),
        (2, 0, 7, True, 5),
        (2, 4, 7, False, 3),
        (9, 0, 7, False, 0),
        (7, 0, 7, False, 0),
    ],
    ids=[
        "nothing committed",
        "and trimmed",
        "a group that begins at the end",
        "which has committed",
        "trimmed since",
        "a topic made anew",
        "all done",
    ],
)
def test_the_lag_begins_where_the_group_would(
    committed: int, start: int, end: int, from_end: bool, expected: int
) -> None:
    found = measure("store", 0, committed=committed, metadata=None, start=start, end=end, from_end=from_end)

    assert (found.lag, found.left, found.is_clean) == (expected, expected, None)
    assert found.committed == max(committed, -1)


@pytest.mark.parametrize("metadata", ["", "L2.?", "another client's"])
def test_what_another_client_has_written_beside_the_offset_is_no_word_of_ours(metadata: str) -> None:
    found = measure("store", 0, committed=1, metadata=metadata, start=0, end=3)

    assert (found.lag, found.beyond, found.retries, found.is_clean) == (2, 0, (), None)


@given(st.integers(0, 1000), st.integers(0, 60), st.sets(st.integers(0, 60)), st.integers(0, 90), st.integers(0, 1100))
def test_no_number_is_ever_negative(committed: int, span: int, open_: set[int], further: int, start: int) -> None:
    frontier = committed + span
    unfinished = tuple(sorted({committed + offset for offset in open_ if offset < span}))
    marks = {offset: Mark(1) for offset in unfinished[::2]}
    handover = OffsetMap(frontier, False, frontier, unfinished, marks)

    found = lag(committed=committed, end=committed + further, handover=handover, start=start)

    assert 0 <= found.beyond <= found.lag
    assert found.left >= 0
    assert found.held + len(found.retries) <= len(unfinished)


def test_a_worker_tells_the_same_of_its_own_partition() -> None:
    handover = OffsetMap(reach=20, frontier=9, unfinished=(3, 5), marks={3: Mark(2, 99_000)})
    own = Partition("kafka", "store", 0, offset=3, metadata=handover.encode(3))

    assert measure_own(own, end=12) == lag(committed=3, end=12, handover=handover)


def test_a_line_has_what_is_known() -> None:
    found = PartitionLag("store", 2, 5, 9, 4, beyond=1, held=1, retries=[Retry(5, 1)], blocking=5, since=90_000)

    line = found.line(100.0)

    assert line == "store[2] committed 5 end 9 lag 4 beyond 1 blocked at 5 for 10 s retries 1 held 1"


def test_the_embedded_broker_tells_what_it_can(project: Project) -> None:
    project.artisan("migrate", "--force")
    project.worker("--stop-when-empty", "--sleep=1").wait(60)

    told = json.loads(project.artisan("kafka:lag", "--json").stdout)
    shown = project.artisan("kafka:lag").stdout

    assert [one["partition"] for one in told["partitions"]] == [0, 1, 2, 3]
    assert (told["lag"], told["members"], told["state"]) == (0, None, None)
    assert "embedded broker can't tell who is in a group" in shown
