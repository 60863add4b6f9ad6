"""The brokers' time."""

from lamplighter.kafka.delays.clock import WINDOW, BrokerClock


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
        clock.learn(1000)

    assert [clock.now() for clock in clocks] == [1000, 1000]


def test_the_quickest_report_counts_so_that_it_is_never_fast() -> None:
    host = Host()
    clock = host.clock()
    clock.learn(1000)  # at 50
    host.monotonic += 10

    clock.learn(1007)  # appended at 57, told at 60

    assert clock.now() == 1010


def test_what_was_learned_long_ago_counts_no_more() -> None:
    host = Host()
    clock = host.clock()
    clock.learn(1000)
    host.monotonic += WINDOW + 1

    is_fresh = clock.is_fresh()
    clock.learn(1590)

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

    clock.learn(1000)

    assert clock.now() == 1000 + 20 * 86_400
