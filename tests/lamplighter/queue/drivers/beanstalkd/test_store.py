"""Jobs in a real beanstalkd."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable, UnsupportedDelay
from lamplighter.queue.drivers.beanstalkd.connection import Address, Connection
from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from tests.beanstalkd import LARGEST, Line, Server, Stores
from tests.harness import wait_for

pytestmark = pytest.mark.beanstalkd


def payload(number: int, attempts: int = 0) -> bytes:
    """A payload that is told from others."""
    return b'{"uuid":"u-%d","job":"probe","data":{},"attempts":%d}' % (number, attempts)


def push(store: BeanstalkdStore, tube: str, *numbers: int, delay: float = 0) -> None:
    """Push jobs."""
    store.push(tube, [Message(payload(number)) for number in numbers], delay)


def take(store: BeanstalkdStore, *tubes: str, most: int = 1, ended: tuple[Ended, ...] = ()) -> list[Lease]:
    """Take jobs."""
    return list(store.take(tubes, most, ended).leases)


def take_soon(store: BeanstalkdStore, *tubes: str, holder: BeanstalkdStore | None = None) -> Lease:
    """Take a job that comes, where its holder's reservation runs out, if need be.

    beanstalkd 1.12 misses one end of a TTR in two, until it hears anything on that connection: so the holder asks.
    """
    found: list[Lease] = []

    def look() -> bool:
        if holder is not None:
            take(holder, f"{tubes[0]}.empty")
        found.extend(take(store, *tubes))
        return bool(found)

    wait_for(look)
    return found[0]


def test_an_end_and_the_next_start_go_together(stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1, 2)
    (first,) = take(store, tube)

    (second,) = take(store, tube, ended=(Ended(first, How.DELETED),))

    assert (first.payload, second.payload) == (payload(1), payload(2))
    sizes = store.sizes(tube)
    assert (sizes.pending, sizes.reserved) == (0, 1)


def test_it_takes_as_many_as_there_are_slots(stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, *range(5))

    leases = take(store, tube, most=3)

    assert [lease.payload for lease in leases] == [payload(0), payload(1), payload(2)]
    assert store.sizes(tube).pending == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\r\n", b"\0\xff\r\nOK 3\r\n", "Ünïcödé \U0001f600".encode(), os.urandom(1024 * 1024)],
    ids=["empty", "one byte", "line end", "hostile", "unicode", "1 MB"],
)
def test_any_bytes_travel(stores: Stores, tube: str, body: bytes) -> None:
    store = stores()
    store.push(tube, [Message(body)], 0)

    (lease,) = take(store, tube)

    assert lease.payload == body


def test_what_is_too_large_is_refused_and_none_of_the_others_is_pushed(stores: Stores, tube: str) -> None:
    store = stores()

    with pytest.raises(MessageTooLarge, match="4,194,305 bytes") as caught:
        store.push(tube, [Message(b"small"), Message(b"x" * (LARGEST + 1))], 0)

    assert (caught.value.size, caught.value.limit) == (LARGEST + 1, LARGEST)
    assert store.sizes(tube).pending == 0


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\r\nput", "ü", "x" * 201])
def test_a_name_that_is_no_tube_is_refused(stores: Stores, name: str) -> None:
    with pytest.raises(QueueError, match="takes no queue named"):
        stores().push(name, [Message(b"x")], 0)


def test_a_start_counts_where_it_was_released(stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)

    (again,) = take(store, tube, ended=(Ended(lease, How.RELEASED),))

    assert (again.payload, again.retries, again.has_crashed) == (payload(1), 1, False)


@pytest.mark.parametrize("how", [How.EXCUSED, How.GIVEN_BACK])
def test_a_start_that_does_not_count_is_taken_back_for_every_worker(stores: Stores, tube: str, how: How) -> None:
    store, other = stores(), stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    (lease,) = take(store, tube, ended=(Ended(lease, How.RELEASED),))
    assert lease.retries == 1

    take(store, ended=(Ended(lease, how),))

    (again,) = take(other, tube, most=2)
    assert (again.payload, again.retries, again.has_crashed) == (payload(1, attempts=1), 0, None)


def test_starts_are_counted_whether_their_numbers_were_expected_or_not(
    server: Server, stores: Stores, tube: str
) -> None:
    store = stores()
    push(store, tube, 1, 2, 3)
    with server.client(tube) as php:
        taken = [php.reserve(timeout=5) for _ in range(3)]
        for job in taken[1:]:
            php.release(job, 1024)
        php.release(taken[0], 2048)
    push(store, tube, 4, 5)

    leases = [lease for _ in range(5) for lease in take(store, tube)]

    assert [(lease.payload, lease.retries) for lease in leases] == [
        (payload(2), 1),
        (payload(3), 1),
        (payload(4), 0),
        (payload(5), 0),
        (payload(1), 1),
    ]


def test_what_was_given_back_is_the_next(stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1, 2, 3, 4)
    leases = take(store, tube, most=2)

    take(store, ended=tuple(Ended(lease, How.GIVEN_BACK) for lease in reversed(leases)))

    assert [lease.payload for lease in take(store, tube, most=4)] == [payload(number) for number in (1, 2, 3, 4)]


def test_bytes_that_are_no_payload_can_be_given_back(stores: Stores, tube: str) -> None:
    store = stores()
    store.push(tube, [Message(b"\xff no JSON")], 0)
    (lease,) = take(store, tube)
    (lease,) = take(store, tube, ended=(Ended(lease, How.RELEASED),))

    (again,) = take(store, tube, ended=(Ended(lease, How.GIVEN_BACK),))

    assert (again.payload, again.retries) == (b"\xff no JSON", 2)


@pytest.mark.parametrize("how", [How.RELEASED, How.EXCUSED])
def test_a_job_never_comes_before_its_delay_is_over(stores: Stores, tube: str, how: How) -> None:
    store = stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    began = time.monotonic()

    take(store, ended=(Ended(lease, how, 1.2),))

    take_soon(store, tube)
    assert time.monotonic() - began >= 1.2


def test_a_pushed_job_never_comes_before_its_delay_is_over(stores: Stores, tube: str) -> None:
    store = stores()
    began = time.monotonic()
    push(store, tube, 1, delay=0.3)
    assert store.sizes(tube).delayed == 1

    take_soon(store, tube)

    assert time.monotonic() - began >= 0.3


def test_a_delay_beyond_the_protocol_is_refused(stores: Stores, tube: str) -> None:
    with pytest.raises(UnsupportedDelay, match="4,294,967,295 seconds"):
        push(stores(), tube, 1, delay=2**32)


def test_a_lease_that_is_renewed_outlasts_its_ttr(stores: Stores, tube: str) -> None:
    store, other = stores(ttr=1), stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    until = time.monotonic() + 3

    while time.monotonic() < until:
        assert store.renew([lease]) == []
        assert take(other, tube) == []
        time.sleep(0.1)

    take(store, ended=(Ended(lease, How.DELETED),))
    assert store.sizes(tube).reserved == 0


def test_the_ttr_of_another_producer_decides_how_often_leases_are_renewed(
    server: Server, stores: Stores, tube: str
) -> None:
    store = stores(ttr=30)
    with server.client(tube) as php:
        php.put(payload(1), priority=1024, ttr=2)

    (lease,) = take(store, tube)

    assert store.seconds == 2
    take(store, ended=(Ended(lease, How.DELETED),))
    assert store.seconds == 30


@pytest.mark.parametrize("how", list(How))
def test_the_end_of_a_lease_that_has_run_out_changes_nothing(stores: Stores, tube: str, how: How) -> None:
    store, other = stores(ttr=1), stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    again = take_soon(other, tube, holder=store)
    assert (again.retries, again.has_crashed) == (1, True)

    take(store, ended=(Ended(lease, how),))

    assert store.sizes(tube).reserved == 1
    assert store.renew([lease]) == [lease]
    assert other.renew([again]) == []


@pytest.mark.parametrize("how", list(How))
def test_the_end_of_a_lease_spares_a_later_one_of_the_same_worker(stores: Stores, tube: str, how: How) -> None:
    store = stores(ttr=1)
    push(store, tube, 1)
    (lease,) = take(store, tube)
    again = take_soon(store, tube)

    take(store, ended=(Ended(lease, how),))

    assert store.renew([lease, again]) == [lease]


def test_a_worker_that_is_gone_gives_its_jobs_back_at_once(stores: Stores, tube: str) -> None:
    store, other = stores(), stores()
    push(store, tube, 1)
    take(store, tube)

    store.close()

    again = take_soon(other, tube)
    assert (again.retries, again.has_crashed) == (1, True)


def test_no_low_job_begins_while_a_high_one_waits(stores: Stores, tube: str) -> None:
    store = stores()
    low, high = f"{tube}.low", f"{tube}.high"
    push(store, low, 1, 2, 3)
    push(store, high, 11, 12)

    taken = [lease for _ in range(5) for lease in take(store, high, low)]

    assert [lease.queue for lease in taken] == [high, high, low, low, low]
    push(store, high, 13)
    push(store, low, 4)
    assert take(store, high, low)[0].queue == high


def test_php_counts_our_starts_and_we_count_its(server: Server, stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1)
    with server.client(tube) as php:
        php.release(php.reserve(timeout=5), 1024, 0)

        (lease,) = take(store, tube)
        take(store, ended=(Ended(lease, How.RELEASED),))

        job = php.reserve(timeout=5)
        assert (lease.retries, php.stats_job(job)["reserves"], job.body) == (1, 3, payload(1))


def test_the_urgent_jobs_of_a_tube_come_first(stores: Stores, tube: str) -> None:
    usual, urgent = stores(), stores(priority=1)
    push(usual, tube, 1)
    push(urgent, tube, 2)

    assert [lease.payload for lease in take(usual, tube, most=2)] == [payload(2), payload(1)]


def test_a_released_job_keeps_its_priority(stores: Stores, tube: str) -> None:
    usual, urgent = stores(), stores(priority=1)
    push(urgent, tube, 1)
    (lease,) = take(usual, tube)
    push(usual, tube, 2)

    (again,) = take(usual, tube, ended=(Ended(lease, How.RELEASED),))

    assert again.payload == payload(1)


def test_sizes_and_clear(server: Server, stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1, 2, 3)
    push(store, tube, 4, 5, delay=100)
    (lease,) = take(store, tube)
    with server.client(tube) as php:
        php.bury(php.reserve(timeout=5))
    sizes = store.sizes(tube)
    assert (sizes.pending, sizes.delayed, sizes.reserved) == (1, 2, 1)
    assert sizes.oldest is not None
    assert abs(time.time() - sizes.oldest) < 5
    assert "1 jobs are buried" in sizes.notes[0]

    assert store.clear(tube) == 3

    sizes = store.sizes(tube)
    assert (sizes.pending, sizes.delayed, sizes.reserved) == (0, 0, 1)
    assert store.renew([lease]) == []


def test_a_tube_that_is_not_there_is_empty(stores: Stores, tube: str) -> None:
    store = stores()

    assert (store.sizes(tube).pending, store.clear(tube), take(store, tube)) == (0, 0, [])


def test_an_idle_worker_sees_that_a_job_has_come(stores: Stores, tube: str) -> None:
    store = stores()
    assert not store.wait([tube, f"{tube}-2"], 0.05)
    push(store, f"{tube}-2", 1)

    assert store.wait([tube, f"{tube}-2"], 1)
    assert store.sizes(f"{tube}-2").reserved == 0


def test_an_idle_worker_is_given_a_job_as_it_comes(stores: Stores, tube: str) -> None:
    store, other = stores(block_for=5), stores()
    timer = threading.Timer(0.2, push, (other, f"{tube}-2", 1))
    timer.start()
    began = time.monotonic()

    taken = store.take([tube, f"{tube}-2"], 4, [])

    assert 0.2 <= time.monotonic() - began < 0.8
    assert [(lease.queue, lease.retries) for lease in taken.leases] == [(f"{tube}-2", 0)]
    timer.join()


def test_the_server_is_not_waited_for_while_a_job_is_in_hand(stores: Stores, tube: str) -> None:
    store = stores(block_for=5)
    push(store, tube, 1)
    take(store, tube)
    began = time.monotonic()

    assert take(store, tube) == []

    assert time.monotonic() - began < 0.5


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    """A line to the server that can be cut."""
    line = Line(server)
    yield line
    line.close()


@pytest.mark.parametrize("word", [b"RESERVED", b"reserves:"], ids=["reservation", "count"])
def test_a_start_whose_answer_was_lost_does_not_count(line: Line, server: Server, tube: str, word: bytes) -> None:
    store = BeanstalkdStore(line.address, ttr=30)
    push(store, tube, 1)
    line.cut_at = word
    with pytest.raises(Unavailable):
        take(store, tube)

    lease = take_soon(store, tube)

    assert (lease.retries, lease.has_crashed) == (0, None)
    with server.client(tube) as php:
        assert php.stats_job(lease.handle.number)["reserves"] == 2
    store.close()


def test_a_cut_line_costs_the_leases_and_what_is_done_is_still_deleted(line: Line, tube: str) -> None:
    store = BeanstalkdStore(line.address, ttr=30)
    push(store, tube, 1, 2)
    done, other = take(store, tube, most=2)
    line.cut()
    wait_for(lambda: store.sizes(tube).pending == 2 if _answers(lambda: store.sizes(tube)) else False)

    lost = store.renew([done, other])
    (again,) = take(store, tube, most=3, ended=(Ended(done, How.DELETED), Ended(other, How.RELEASED)))

    assert list(lost) == [done, other]
    assert (again.payload, again.retries) == (payload(2), 1)
    store.close()


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Unavailable:
        return False
    return True


def test_a_server_that_answers_nothing_is_away_in_time(own_server: Server, tube: str) -> None:
    store = own_server.store(timeout=0.3)
    push(store, tube, 1)
    own_server.freeze(frozen=True)
    began = time.monotonic()

    with pytest.raises(Unavailable, match=r"beanstalkd at 127\.0\.0\.1:\d+ does not answer"):
        push(store, tube, 2)

    assert time.monotonic() - began < 5
    own_server.freeze(frozen=False)
    store.close()


def test_a_server_that_was_killed_has_what_it_confirmed(own_server: Server, tube: str) -> None:
    store = own_server.store()
    push(store, tube, *range(100))
    (done,) = take(store, tube)
    (running,) = take(store, tube, ended=(Ended(done, How.DELETED),))
    own_server.kill()
    with pytest.raises(Unavailable):
        push(store, tube, 100)
    own_server.start()

    assert store.renew([running]) == [running]
    leases = take(store, tube, most=200, ended=(Ended(running, How.DELETED),))

    assert [lease.payload for lease in leases] == [payload(number) for number in range(1, 100)]
    store.close()


def test_a_number_of_another_life_of_the_server_deletes_nothing(own_server: Server, tube: str) -> None:
    store = own_server.store()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    own_server.kill()
    own_server._options = []  # without its folder: it gives out the same numbers anew
    own_server.start()
    another = own_server.store()
    push(another, tube, 2)

    (other,) = take(store, tube, ended=(Ended(lease, How.DELETED),))

    assert other.payload == payload(2)
    assert other.handle.number == lease.handle.number
    store.close()
    another.close()


def test_a_server_that_takes_no_more_jobs_is_away_for_pushes(own_server: Server, tube: str) -> None:
    store = own_server.store()
    push(store, tube, 1)
    own_server._process.send_signal(signal.SIGUSR1)
    with own_server.client(tube) as php:
        wait_for(lambda: php.stats()["draining"] == "true")

    with pytest.raises(Unavailable, match="takes no jobs now: DrainingError"):
        push(store, tube, 2)

    assert [lease.payload for lease in take(store, tube)] == [payload(1)]
    store.close()


@pytest.fixture
def drained(own_server: Server, tube: str) -> Server:
    """A server with one job, that takes no more."""
    store = own_server.store()
    push(store, tube, 1)
    store.close()
    own_server._process.send_signal(signal.SIGUSR1)
    with own_server.client(tube) as php:
        wait_for(lambda: php.stats()["draining"] == "true")
    return own_server


def test_a_job_whose_start_must_not_count_stays_in_its_worker_while_it_can_not_be_put_anew(
    drained: Server, tube: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, other = drained.store(), drained.store()
    (lease,) = take(store, tube)
    end = Ended(lease, How.EXCUSED, 1)

    for _ in range(2):
        taken = store.take([tube], 1, [end])
        assert (list(taken.leases), taken.kept) == ([], [end])

    assert take(other, tube) == []
    assert store.renew([lease]) == []
    assert caplog.text.count("can't be put anew") == 1
    take(store, ended=(Ended(lease, How.DELETED),))
    assert store.sizes(tube).reserved == 0
    store.close()
    other.close()


def test_an_excused_job_runs_again_in_its_worker_while_the_server_drains(drained: Server, tube: str) -> None:
    store = drained.store()
    queue = LeasingQueue("beanstalkd", store, default_queue=tube)
    queue.open([tube], SimpleQueue())
    delivery = queue.pop([tube], 5)
    assert delivery is not None

    for excused in range(3):
        assert (delivery.retries, delivery.excused) == (0, excused)
        delivery.release(0.1, counted=False)
        delivery = queue.pop([tube], 5)
        assert delivery is not None

    delivery.delete()
    assert queue.close(timeout=5)
    store.close()  # its thread may have made one more connection


def test_what_is_given_back_to_a_server_that_drains_has_not_been_started_when_that_starts_again(
    drained: Server, tube: str
) -> None:
    queue = LeasingQueue("beanstalkd", drained.store(), default_queue=tube)
    queue.open([tube], SimpleQueue())
    assert queue.pop([tube], 5) is not None
    assert queue.close(timeout=5)
    drained.kill()
    drained.start()
    store = drained.store()

    again = take_soon(store, tube)

    assert (again.payload, again.retries) == (payload(1), 0)
    store.close()


def test_an_end_that_is_refused_is_told(
    server: Server, stores: Stores, tube: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = stores()
    push(store, tube, 1)
    (lease,) = take(store, tube)
    with server.client(tube) as php:
        store._leases[lease.handle.number].handle.connection.ask([lease.handle.connection.delete(lease.handle.number)])
        assert php.stats_tube(tube)["current-jobs-reserved"] == 0

    take(store, ended=(Ended(lease, How.DELETED),))

    assert "refused the end of a job" in caplog.text


def test_what_is_no_beanstalkd_is_told(tube: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            line, _ = other.accept()
            line.recv(100)
            line.sendall(b"-ERR unknown command 'stats'\r\n")
            line.recv(100)
            line.close()

        thread = threading.Thread(target=greet)
        thread.start()
        store = BeanstalkdStore(Address("127.0.0.1", other.getsockname()[1], 5.0), ttr=30)

        with pytest.raises(QueueError, match="is no beanstalkd"):
            push(store, tube, 1)

        thread.join()


def test_a_child_leaves_the_connections_to_its_parent(server: Server, stores: Stores, tube: str) -> None:
    store = stores()
    push(store, tube, 1, 2)
    (lease,) = take(store, tube)
    child = os.fork()
    if child == 0:
        try:
            mine = take(store, tube, most=5)
            os._exit(0 if [one.payload for one in mine] == [payload(2)] else 1)
        finally:
            os._exit(2)

    assert os.waitpid(child, 0)[1] == 0
    assert store.renew([lease]) == []


@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("block_for", [0, 5])
def test_an_idle_worker_of_any_number_of_queues_asks_at_most_twice_a_second(
    stores: Stores, tube: str, monkeypatch: pytest.MonkeyPatch, block_for: int, count: int, is_busy: bool
) -> None:
    store, names = stores(block_for=block_for), [f"{tube}.{number}" for number in range(count)]
    queue = LeasingQueue("tubes", store, default_queue=names[0])
    if is_busy:
        push(store, names[-1], 1)
    store._others.close()
    queue.open(names, SimpleQueue(), slots=2)
    in_hand = queue.pop(names, 5) if is_busy else None
    assert queue.pop(names, 0) is None
    asked: list[object] = []
    ask = Connection.ask

    def counted(connection: Connection, commands: Any) -> list[Any]:
        asked.append(commands)
        return ask(connection, commands)

    monkeypatch.setattr(Connection, "ask", counted)
    began = time.monotonic()
    idle = queue.pop(names, 2.1)
    elapsed = time.monotonic() - began
    others = len(asked)

    assert idle is None
    assert is_busy == (in_hand is not None)
    # The first look after a job goes through all queues; a connection that is made says a word.
    assert others <= 2 * elapsed + 2 + (count if is_busy else 0)
    push(store, names[count // 2], 2)
    assert queue.pop(names, 5) is not None
    queue.close(timeout=5)


def test_a_queue_that_pause_tube_holds_back_does_not_keep_its_worker_busy(
    server: Server, stores: Stores, tube: str
) -> None:
    store = stores()
    push(store, tube, 1)
    with server.client(tube) as client:
        client.pause_tube(tube, 60)

    assert not store.wait([tube], 1)
