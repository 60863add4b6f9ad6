"""The numbers of a partition, from what its commit says; and kafka:lag on the embedded broker."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lamplighter.kafka.commands.lag import drawn
from lamplighter.kafka.monitoring.counting import Delayed
from lamplighter.kafka.monitoring.groups import GroupLag, Member
from lamplighter.kafka.monitoring.lag import Log, PartitionLag, Retry, measure, measure_own
from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.reading.records import Seen
from tests.harness import Project


@pytest.fixture
def project(tmp_path: Path, framework: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    project = Project(
        tmp_path, environment={"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    )
    yield project
    project.close()


def lag(
    *, committed: int, end: int, handover: OffsetMap | None = None, start: int = 0, stable: int | None = None
) -> PartitionLag:
    """The numbers of store[0]."""
    text = handover.encode(committed) if handover is not None else None
    log = Log(start, end if stable is None else stable, end)
    return measure("store", 0, log, committed=committed, metadata=text)


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
        (9, 0, 7, False, 7),
        (9, 4, 7, True, 3),
        (7, 0, 7, False, 0),
    ],
    ids=[
        "nothing committed",
        "and trimmed",
        "a group that begins at the end",
        "which has committed",
        "trimmed since",
        "a log that became shorter",
        "which a new group would begin at its end",
        "all done",
    ],
)
def test_the_lag_begins_where_the_group_would(
    committed: int, start: int, end: int, from_end: bool, expected: int
) -> None:
    found = measure("store", 0, Log(start, end, end), committed=committed, metadata=None, from_end=from_end)

    assert (found.lag, found.left, found.is_clean) == (expected, expected, None)
    assert found.committed == max(committed, -1)


@pytest.mark.parametrize("metadata", ["", "L2.?", "another client's"])
def test_what_another_client_has_written_beside_the_offset_is_no_word_of_ours(metadata: str) -> None:
    found = measure("store", 0, Log(0, 3, 3), committed=1, metadata=metadata)

    assert (found.lag, found.beyond, found.retries, found.is_clean) == (2, 0, (), None)


def test_a_log_that_is_shorter_than_what_was_committed_has_all_of_it_left_and_says_so() -> None:
    handover = OffsetMap(reach=120, frontier=110, unfinished=(100, 104), marks={104: Mark(1)})

    found = lag(committed=100, end=50, start=10, handover=handover)

    # What stands beside the commit is about records that are gone.
    assert (found.lag, found.left, found.beyond, found.held, found.retries) == (40, 40, 0, 0, ())
    assert found.is_shorter
    assert found.notes() == [
        "store[0]: the log is shorter than what was committed: it ends at 50, and the group had finished something up "
        "to 110. At most what is there from 10 on is left; a worker goes on from where the log was cut off, if the "
        "brokers can tell."
    ]
    assert found.as_dict(1)["shorter_than"] == 110
    assert found.line(1).endswith(" shorter than 110")


def test_a_log_that_ends_before_what_is_finished_beyond_the_commit_has_all_from_the_commit_on_left() -> None:
    found = lag(committed=50, end=60, handover=OffsetMap(reach=100, frontier=100, unfinished=(50, 55, 70)))

    # Where it was cut off, and which of these ten were written since, the offsets don't tell.
    assert (found.lag, found.beyond, found.left, found.held) == (10, 0, 10, 0)
    assert found.is_shorter


def test_what_an_open_transaction_holds_is_no_lag_and_is_told() -> None:
    found = lag(committed=3, end=45, stable=5)

    assert (found.lag, found.left, found.in_transaction, found.readable_to) == (2, 2, 40, 5)
    assert found.notes() == [
        "store[0]: held by an open transaction: nobody can read the 40 offsets from 5 on before it ends."
    ]
    assert found.as_dict(1)["in_open_transaction"] == 40
    assert found.line(1).endswith("lag 2 beyond 0 retries 0 held 0 in an open transaction from 5")
    assert lag(committed=3, end=5).notes() == []


def test_a_new_group_that_begins_at_the_end_begins_before_an_open_transaction() -> None:
    found = measure("store", 0, Log(0, 5, 9), committed=-1, metadata=None, from_end=True)

    assert (found.lag, found.in_transaction, found.first_open) == (0, 4, 5)


@pytest.mark.parametrize(
    ("first", "left", "blocking"),
    [(Seen(3, 90), 4, 3), (Seen(5, 90), 2, 5), (None, 0, -1)],
    ids=["none", "before the first job", "nothing else"],
)
def test_markers_of_transactions_are_no_jobs(first: Seen | None, left: int, blocking: int) -> None:
    found = lag(committed=3, end=7).with_first(first)

    assert (found.lag, found.left, found.blocking) == (4, left, blocking)


def test_markers_that_are_passed_by_what_is_finished_count_once() -> None:
    handover = OffsetMap(reach=9, frontier=7, unfinished=(5,))

    found = lag(committed=3, end=9, handover=handover).with_first(Seen(5, 90))

    # 3 and 4 are markers, 5 is open, 6 is finished, 7 and 8 were not begun.
    assert (found.lag, found.beyond, found.left) == (6, 3, 3)


@given(
    st.integers(-1, 1000),
    st.integers(0, 60),
    st.sets(st.integers(0, 60)),
    st.integers(-50, 90),
    st.integers(0, 1100),
    st.integers(0, 40),
    st.one_of(st.none(), st.integers(0, 200)),
)
def test_no_number_is_ever_negative(
    committed: int, span: int, open_: set[int], further: int, start: int, held: int, gap: int | None
) -> None:
    frontier = committed + span
    unfinished = tuple(sorted({committed + offset for offset in open_ if offset < span}))
    marks = {offset: Mark(1) for offset in unfinished[::2]}
    handover = OffsetMap(frontier, False, frontier, unfinished, marks)

    end = max(start, committed + further)

    found = lag(committed=committed, end=end, handover=handover, start=start, stable=max(start, end - held))
    seen = found.with_first(None if gap is None else Seen(found.first_open + gap, 5))

    assert 0 <= found.beyond <= found.lag
    assert 0 <= seen.left <= found.left <= found.lag
    assert found.in_transaction >= 0
    assert found.first_open + found.lag + found.in_transaction == end or found.first_open > end
    assert found.held + len(found.retries) <= len(unfinished)


def test_a_worker_tells_the_same_of_its_own_partition() -> None:
    handover = OffsetMap(reach=20, frontier=9, unfinished=(3, 5), marks={3: Mark(2, 99_000)})
    own = Partition("kafka", "store", 0, offset=3, metadata=handover.encode(3))

    assert measure_own(own, Log(0, 12, 12)) == lag(committed=3, end=12, handover=handover)


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


def test_no_name_of_a_group_or_a_member_steers_the_live_table() -> None:
    member = Member("\x1b[2Jmine", "any", "h\u202eost")  # whoever joins a group names its client
    found = GroupLag("[/red]", "stable", "classic", [member], [lag(committed=1, end=2)])
    screen = io.StringIO()

    Console(file=screen, width=200).print(drawn(found, Delayed(None, "\x9b1mtrouble"), "\x07away"))

    shown = screen.getvalue()
    assert "[/red]" in shown
    for word in ("\\u001b[2Jmine", "h\\u202eost", "\\u009b1mtrouble", "\\u0007away"):
        assert word in shown
    assert all(letter == "\n" or letter.isprintable() for letter in shown)
