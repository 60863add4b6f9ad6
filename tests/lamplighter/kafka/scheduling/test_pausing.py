"""What is begun while topics are paused."""

import threading

from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.scheduling.scheduler import Scheduler
from tests.lamplighter.kafka.scheduling.test_scheduler import CRASHED, Bench


def two() -> Bench:
    """Two topics of one weight."""
    return Bench(Scheduler({"t": 1, "u": 1}))


def test_of_a_paused_topic_nothing_begins_and_of_the_other_all() -> None:
    bench = two()
    bench.partition("a", "b")
    bench.partition("c", "d", topic="u")

    bench.scheduler.pause({"t"})

    deliveries = [bench.pop(), bench.pop()]
    assert [delivery.queue for delivery in deliveries] == ["u", "u"]
    assert bench.scheduler.pop() is None


def test_a_chunk_that_is_worked_is_left_at_once_and_goes_on_where_it_was() -> None:
    bench = Bench()
    bench.partition(*"abcdef")
    assert bench.offsets(2) == [0, 1]

    bench.scheduler.pause({"t"})
    paused = bench.scheduler.pop()
    bench.scheduler.pause(())

    assert paused is None
    assert bench.offsets(4) == [2, 3, 4, 5]


def test_a_retry_of_a_paused_topic_waits_and_holds_up_no_other() -> None:
    bench = two()
    bench.partition("a")
    bench.partition("c", topic="u")
    first = bench.pop()
    first.release(0)
    bench.scheduler.pause({first.queue})

    other = bench.pop()
    other.delete()
    paused = bench.scheduler.pop()
    is_empty = bench.scheduler.is_empty
    bench.scheduler.pause(())

    assert other.queue != first.queue
    assert paused is None
    assert is_empty
    assert bench.pop().retries == 1


def test_what_waited_behind_a_job_of_its_key_waits_on_while_it_is_paused() -> None:
    bench = Bench()
    bench.partition("a", "a")
    (first,) = bench.kept(1)
    assert bench.scheduler.pop() is None
    bench.scheduler.pause({"t"})

    first.delete()
    paused = bench.scheduler.pop()
    bench.scheduler.pause(())

    assert paused is None
    assert bench.offsets(1) == [1]


def test_a_suspect_of_a_paused_topic_holds_up_no_other_and_its_start_does_not_count() -> None:
    bench = two()
    suspicious = bench.partition("a", "b", left=OffsetMap(reach=1, is_clean=False, marks={0: Mark(1, in_hand=True)}))
    bench.partition("c", topic="u")
    assert bench.scheduler.pop() is None  # its start is to be told before

    bench.scheduler.pause({"t"})
    other = bench.pop()
    bench.commit(suspicious)
    told = OffsetMap.decode(suspicious.committed[1], 0)
    bench.scheduler.pause(())
    other.delete()
    bench.scheduler.pop()
    bench.commit(suspicious)

    assert other.queue == "u"
    assert told is not None
    assert told.marks == {0: Mark(1, has_crashed=True)}
    assert (bench.pop().offset, suspicious.tracker.first_open) == (0, 0)


def test_a_paused_topic_with_suspects_does_not_come_before_others() -> None:
    bench = two()
    bench.partition("a", "b", left=CRASHED)
    bench.partition("c", topic="u")

    bench.scheduler.pause({"t"})

    assert bench.pop().queue == "u"


def test_a_partition_of_a_paused_topic_is_given_away_at_once() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", "c")
    bench.pop().release(0)
    bench.scheduler.pause({"t"})
    assert bench.scheduler.pop() is None

    bench.give_away(partition)
    bench.scheduler.look()

    assert partition.has_left


def test_a_pause_by_another_thread_holds_from_its_return_on() -> None:
    for _ in range(20):
        bench = Bench()
        bench.partition(*["a"] * 400)
        thread = threading.Thread(target=bench.scheduler.pause, args=({"t"},))
        thread.start()
        while thread.is_alive() and (delivery := bench.scheduler.pop()) is not None:
            delivery.delete()
        thread.join()

        assert bench.scheduler.pop() is None
