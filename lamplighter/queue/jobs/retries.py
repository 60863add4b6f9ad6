"""When a job runs again, as values: the policy decides, the worker obeys."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lamplighter.errors import ConfigError, UnsupportedDelay

DAY = 86_400.0
MOST_SECONDS = 10**11  # some 3,000 years; what is due later than that fits in no number of the drivers
LONGEST = 30 * DAY  # seconds: no job is held back for longer, before its first start or a further one


@dataclass(frozen=True, slots=True)
class Policy:
    """How one job may be tried: what its payload says, else its class, else the worker's options.

    Attributes:
        tries: starts at most; 0 is without end.
        backoff: seconds before each further attempt, the last repeated.
        timeout: seconds for one attempt; 0 is without end.
        is_tries_said: the payload or the class says how many; else it is the worker's option.
    """

    tries: int
    backoff: tuple[float, ...]
    timeout: float
    is_tries_said: bool = False

    def may_start(self, attempts: int, *, has_crashed: bool = False) -> bool:
        """Whether the start that is the `attempts`-th is allowed.

        A job whose worker died may be innocent: where nobody has said that it must be started once only, it is
        started once more.
        """
        tries = max(2, self.tries) if has_crashed and self.tries and not self.is_tries_said else self.tries
        return tries == 0 or attempts <= tries

    def may_retry(self, attempts: int) -> bool:
        """Whether another start may follow the `attempts`-th."""
        return (self.tries == 0 or attempts < self.tries) and not self.waits_too_long(attempts)

    def waits_too_long(self, attempts: int) -> bool:
        """Whether the wait after the `attempts`-th start is longer than any job is held back; a payload may say so."""
        return self.delay_after(attempts) > LONGEST

    def delay_after(self, attempts: int) -> float:
        """Seconds to wait after the `attempts`-th start."""
        return self.backoff[min(attempts, len(self.backoff)) - 1] if self.backoff else 0.0


def parse_backoff(value: str | float | Sequence[float] | None) -> tuple[float, ...]:
    """Seconds of each wait, from a number, a list, or text such as `1,5,30`; () when there is none.

    Raises:
        ConfigError: the text is no list of numbers, or a wait has no end.
    """
    if value is None or value == "":
        return ()
    parts: Sequence[object] = [value] if isinstance(value, int | float) else value
    if isinstance(value, str):
        parts = value.split(",")
    try:
        return tuple(map(_seconds, parts))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"A backoff is seconds, or seconds separated by commas; {value!r} is neither.") from error


def _seconds(part: object) -> float:
    wait = float(part)  # type: ignore[arg-type]
    if not math.isfinite(wait):
        raise ValueError(wait)
    return wait


def check_delay(delay: object, error: type[Exception] = UnsupportedDelay) -> None:
    """Look at a delay that somebody asks for; `error` is raised where it is no number of seconds."""
    if isinstance(delay, int | float) and not isinstance(delay, bool) and abs(delay) <= MOST_SECONDS:  # not so: NaN
        return
    raise error(f"A delay is a number of seconds, up to {MOST_SECONDS:,}; {_shown(delay)} is none.")


def _shown(value: object) -> str:
    """A value as errors show it; Python writes no number of thousands of digits."""
    return f"a number of {value.bit_length():,} bits" if type(value) is int else repr(value)


def check_waits(waits: Sequence[float]) -> None:
    """Look at a backoff that this application has chosen; one that has come in a payload is left to `Policy`.

    Raises:
        ConfigError: a wait is negative, or longer than any job is held back.
    """
    if min(waits, default=0.0) < 0:
        raise ConfigError(f"A backoff is seconds from 0; {min(waits):,.10g} is less.")
    if max(waits, default=0.0) > LONGEST:
        raise ConfigError(
            f"A backoff of {max(waits):,.10g} s is too long: a job is held back for {LONGEST / DAY:g} days at most, "
            f"which is {LONGEST:,.0f} s."
        )


def format_backoff(value: float | Sequence[float] | None) -> str | None:
    """A backoff as payloads carry it: `1,5,30`."""
    if value is None:
        return None
    return ",".join(str(int(wait)) if wait.is_integer() else repr(wait) for wait in parse_backoff(value))
