"""When a job runs again."""

from collections.abc import Sequence

import pytest

from lamplighter.errors import ConfigError
from lamplighter.queue.jobs.retries import LONGEST, Policy, check_waits, format_backoff, parse_backoff


@pytest.mark.parametrize(
    ("value", "waits"),
    [
        (None, ()),
        ("", ()),
        (5, (5.0,)),
        ("1,5,30", (1.0, 5.0, 30.0)),
        ((1, 2.5), (1.0, 2.5)),
        ("0", (0.0,)),
    ],
)
def test_a_backoff_is_read_in_every_form(value: str | float | Sequence[float] | None, waits: tuple[float, ...]) -> None:
    assert parse_backoff(value) == waits


@pytest.mark.parametrize("value", ["1,soon", "1,inf", "nan", pytest.param(10**400, id="huge")])
def test_a_backoff_that_is_no_number_is_an_error(value: str | float) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        parse_backoff(value)


def test_a_backoff_that_no_queue_holds_is_an_error_that_names_the_limit() -> None:
    check_waits((LONGEST,))

    with pytest.raises(ConfigError, match=r"3,000,000 s is too long.* 30 days at most, which is 2,592,000 s"):
        check_waits((1.0, 3_000_000.0))


def test_no_start_follows_that_would_come_after_the_longest_wait() -> None:
    policy = Policy(tries=0, backoff=(1.0, LONGEST + 1), timeout=60)

    assert [policy.may_retry(1), policy.may_retry(2)] == [True, False]


def test_a_backoff_travels_as_text() -> None:
    assert format_backoff((1, 5, 30)) == "1,5,30"


@pytest.mark.parametrize("backoff", [1234567, (0.1, 1 / 3), [86_400.25, 1e-7], ()])
def test_a_backoff_that_has_travelled_is_the_same(backoff: float | Sequence[float]) -> None:
    assert parse_backoff(format_backoff(backoff)) == parse_backoff(backoff)


@pytest.mark.parametrize(("attempts", "delay"), [(1, 1.0), (2, 5.0), (3, 30.0), (4, 30.0)])
def test_the_last_wait_is_repeated(attempts: int, delay: float) -> None:
    policy = Policy(tries=0, backoff=(1.0, 5.0, 30.0), timeout=60)

    assert policy.delay_after(attempts) == delay


def test_without_backoff_there_is_no_wait() -> None:
    assert Policy(tries=3, backoff=(), timeout=60).delay_after(1) == 0.0


@pytest.mark.parametrize(
    ("tries", "attempts", "start", "retry"),
    [(1, 1, True, False), (3, 3, True, False), (3, 4, False, False), (3, 2, True, True), (0, 99, True, True)],
)
def test_tries_bound_the_starts(tries: int, attempts: int, start: bool, retry: bool) -> None:
    policy = Policy(tries=tries, backoff=(), timeout=60)

    assert (policy.may_start(attempts), policy.may_retry(attempts)) == (start, retry)
