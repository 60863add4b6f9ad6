"""The brokers' time."""

from lamplighter.kafka.delays.clock import TICK, WINDOW, BrokerClock


class Host:
    """A host whose clocks go as a test says."""

    def __init__(self, *, wall: float = 1000.0) -> None:
        self.monotonic = 50.0
        self.wall = wall

    def clock(self, shift: float = 0.0) -> BrokerClock:
        """A clock on this host."""
        return BrokerClock(shift, monotonic=lambda: self.monotonic, wall=lambda: self.wall)


def test_without_a_lesson_it_goes_on_from_the_wall_clock_of_the_first_moment() -> None:
    host = Host()
    clock = host.clock()

    host.wall -= 30
    host.monotonic += 5

    assert clock.now() == 1005
    assert not clock.is_fresh()


def test_a_lesson_corrects_a_wall_clock_that_is_fast_and_one_that_is_slow() -> None:
    fast, slow = Host(wall=1030), Host(wall=970)
    clocks = fast.clock(), slow.clock()

    for clock in clocks:
        clock.learn(1000, sent=clock.moment())

    assert [clock.now() for clock in clocks] == [1000, 1000]


def test_a_slow_report_teaches_but_is_no_reason_not_to_ask() -> None:
    host = Host()
    clock = host.clock()
    sent = clock.moment()
    host.monotonic += 9

    clock.learn(1008, sent=sent)
    slow = clock.is_fresh()
    clock.learn(1009, sent=clock.moment())

    assert (slow, clock.is_fresh(), clock.latest()) == (False, True, 1009 + TICK)


def test_the_quickest_report_counts_so_that_it_is_never_fast() -> None:
    host = Host()
    clock = host.clock()
    clock.learn(1000, sent=clock.moment())  # at 50
    host.monotonic += 10

    clock.learn(1007, sent=clock.moment())  # appended at 57, told at 60

    assert clock.now() == 1010


def test_what_was_learned_long_ago_counts_no_more() -> None:
    host = Host()
    clock = host.clock()
    clock.learn(1000, sent=clock.moment())
    host.monotonic += WINDOW + 1

    is_fresh = clock.is_fresh()
    clock.learn(1590, sent=clock.moment())

    assert not is_fresh
    assert clock.now() == 1590


def test_a_record_that_was_read_can_only_set_it_forward() -> None:
    clock = Host().clock()

    clock.notice(900)
    before = clock.now()
    clock.notice(1020)

    assert (before, clock.now()) == (1000, 1020)


def test_days_pass_when_it_is_moved() -> None:
    clock = Host().clock(shift=20 * 86_400)

    clock.learn(1000, sent=clock.moment())

    assert clock.now() == 1000 + 20 * 86_400


def test_what_two_processes_take_for_the_time_lies_on_both_sides_of_it() -> None:
    """The brokers' time is 950 seconds beyond the host's; one report takes 5 ms, the other one 1 ms."""
    host = Host()
    slow, quick = host.clock(), host.clock()
    for clock, way in ((slow, 0.005), (quick, 0.001)):
        sent = clock.moment()
        appended = host.monotonic + 950  # at once; what takes long is the report
        host.monotonic += way
        clock.learn(appended, sent=sent)

    brokers = host.monotonic + 950

    assert slow.now() < quick.now() <= brokers
    assert min(slow.latest(), quick.latest()) >= brokers
    assert max(slow.latest(), quick.latest()) <= brokers + 0.01


def test_the_quickest_question_tells_best_what_the_brokers_have_not_passed() -> None:
    host = Host()
    clock = host.clock()
    for way in (3, 1, 2):
        sent = clock.moment()
        host.monotonic += way  # until it is appended
        clock.learn(host.monotonic + 950, sent=sent)

    assert clock.now() == host.monotonic + 950
    assert clock.latest() == host.monotonic + 951 + TICK


def test_a_process_that_stood_still_between_two_looks_at_its_clocks_knows_no_better() -> None:
    """The wall clock was read at some moment from 50.0 to 50.5 of the other one."""
    seconds = iter([50.0, 50.5, 60.0, 60.0])
    clock = BrokerClock(monotonic=lambda: next(seconds), wall=lambda: 1000.0)

    assert (clock.now(), clock.latest()) == (1009.5, 1010.0)
