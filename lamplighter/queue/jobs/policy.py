"""The policy of a job class: its names, what each takes, and what looks like a policy and is none."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lamplighter.errors import ConfigError
from lamplighter.queue.jobs.retries import check_waits, parse_backoff
from lamplighter.support.strings import did_you_mean


@dataclass(frozen=True, slots=True)
class Takes:
    """What a policy may be: types, and the same in words."""

    kinds: tuple[type, ...]
    words: str


POLICY: Mapping[str, Takes] = {
    "name": Takes((str,), "a text"),
    "queue": Takes((str,), "a text"),
    "connection": Takes((str,), "a text"),
    "tries": Takes((int,), "a whole number, 0 for no end"),
    "backoff": Takes((int, float, str, Sequence), "seconds, or a list of them"),
    "timeout": Takes((int, float), "seconds, 0 for no end"),
    "batch_size": Takes((int,), "a whole number from 1"),
    "batch_wait_ms": Takes((int, float), "milliseconds, 0 for no wait"),
    "aliases": Takes((Mapping,), "{field: name on the wire}"),
    "runs_elsewhere": Takes((bool,), "True or False"),
}
OF_ONE_JOB = frozenset({"tries", "backoff", "timeout", "queue", "connection"})  # a job may have its own
# What other frameworks call a policy, and what one letter more or less does not explain.
LOOK_ALIKES: Mapping[str, str] = {
    "alias": "aliases",
    "batchwait": "batch_wait_ms",
    "maxattempts": "tries",
    "maxretries": "tries",
    "maxtries": "tries",
    "nmae": "name",
    "onconnection": "connection",
    "onqueue": "queue",
    "retries": "tries",
    "retryafter": "backoff",
    "tires": "tries",
    "trys": "tries",
}
# Laravel's, without an equal here.
UNSUPPORTED: Mapping[str, str] = {
    "aftercommit": "dispatch the job after the transaction is committed",
    "debouncefor": "take a lock in `handle`, and return where another job has it",
    "deduplicator": "a job may run twice: let `handle` find what it has done",
    "delay": "say it where the job is dispatched: `dispatch(job, delay=60)`",
    "deletewhenmissingmodels": "look for the row in `handle`, and return where it is gone",
    "failontimeout": "a timeout counts as an attempt, so that `tries = 1` fails the job",
    "maxexceptions": "a job has failed after its `tries`, whatever it has raised",
    "messagegroup": "jobs of one key are kept in order: return it from a method `key(self)`",
    "middleware": "do it in `handle`",
    "retryuntil": "say how often by `tries`, and how long between by `backoff`",
    "shouldbeencrypted": "encrypt in `to_data` what nobody may read, and decrypt it in `from_data`",
    "uniquefor": "take a lock in `handle`, and return where another job has it",
    "uniqueid": "take a lock in `handle`, and return where another job has it",
    "uniquevia": "take a lock in `handle`, and return where another job has it",
}
NEAR = 0.85  # of difflib's ratio: `queu` is queue, and `connector` no connection


def check_values(owner: object, path: str) -> None:
    """Look at the policy of a class, or of one job; `path` is the class's, for the message.

    Raises:
        ConfigError: a policy is of another type, negative or without end, or a backoff is longer than any job is held
            back.
    """
    for name, takes in POLICY.items():
        value = getattr(owner, name)
        if value is not None and name != "backoff" and not fits(value, takes.kinds):
            raise ConfigError(f"{path} has {value!r} for {name}, which takes {takes.words}.")
    try:
        check_waits(parse_backoff(getattr(owner, "backoff")))  # noqa: B009  # a class or a job has it
    except ConfigError as error:
        raise ConfigError(f"{path} has a backoff that can't be used. {error}") from error


def fits(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether a value is of these types; a number is finite, and not below 0."""
    if isinstance(value, bool):
        return bool in kinds
    if not isinstance(value, kinds):
        return False
    return not isinstance(value, int | float) or (math.isfinite(value) and value >= 0)


def check_names(path: str, attributes: Iterable[tuple[str, object]]) -> None:
    """Look at the attributes of a class that are neither policy nor fields nor methods.

    Raises:
        ConfigError: one is a policy that is spelled wrongly, or one of Laravel's that is not supported.
    """
    for name, value in attributes:
        if not _may_be_policy(name, value):
            continue
        instead = UNSUPPORTED.get(_plain(name))
        if instead is not None:
            raise ConfigError(
                f"{path} has an attribute `{name}`, which is no policy of a job here: {instead}. {_own(name)}"
            )
        meant = _meant(name, value)
        if meant is not None:
            raise ConfigError(
                f"{path} has an attribute `{name}`, which is no policy of a job: did you mean `{meant}`? {_own(name)}"
            )


def _may_be_policy(name: str, value: object) -> bool:
    """Lower case, public, and a plain value: no method, property or nested class."""
    return name[:1].islower() and not callable(value) and not hasattr(type(value), "__get__")


def _meant(name: str, value: object) -> str | None:
    word = _plain(name)
    known = {_plain(policy): policy for policy in POLICY}
    sure = known.get(word) or LOOK_ALIKES.get(word)
    if sure is not None:
        return sure
    near = [known[found] for found in did_you_mean(word, known, cutoff=NEAR)]
    return next((policy for policy in near if fits(value, POLICY[policy].kinds)), None)


def _plain(name: str) -> str:
    """`maxTries` and `max_tries` are one word."""
    return name.replace("_", "").lower()


def _own(name: str) -> str:
    return f"If it is a constant of your own, write it in capitals or as `_{name}`."
