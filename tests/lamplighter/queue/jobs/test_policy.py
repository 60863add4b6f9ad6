"""What a job class may say of itself, and what only looks like policy."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from lamplighter.errors import ConfigError
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.policy import POLICY, UNSUPPORTED, check_values

ORDINARY = """
    LIMIT TRYS Trys _trys limit title times series label game same titles path status lane table collection connector
    timer time_zone state kind topic batch length retention attempts priority template currency url
"""


def define(**attributes: object) -> type[Job]:
    """A job class with these attributes."""
    return type("Made", (Job,), {**attributes, "handle": lambda self: None, "__module__": __name__})


@pytest.mark.parametrize(
    ("attribute", "value", "meant"),
    [
        ("trys", 5, "tries"),
        ("trys", "five", "tries"),
        ("triess", 5, "tries"),
        ("tires", 5, "tries"),
        ("retries", 5, "tries"),
        ("max_tries", 5, "tries"),
        ("maxTries", 5, "tries"),
        ("max_retries", 5, "tries"),
        ("retryAfter", 5, "backoff"),
        ("back_off", (1, 5), "backoff"),
        ("bakcoff", [1, 5], "backoff"),
        ("timeOut", 5, "timeout"),
        ("timout", 0.5, "timeout"),
        ("queu", "letters", "queue"),
        ("queues", "letters", "queue"),
        ("conection", "kafka", "connection"),
        ("nmae", "letter", "name"),
        ("batchSize", 5, "batch_size"),
        ("batch_sise", 5, "batch_size"),
        ("batch_wait", 5, "batch_wait_ms"),
        ("alias", {"a": "b"}, "aliases"),
    ],
)
def test_a_policy_that_is_spelled_wrongly_is_refused_at_definition(attribute: str, value: object, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"{__name__}\.Made has an attribute `{attribute}`.*did you mean `{meant}`"):
        define(**{attribute: value})


@pytest.mark.parametrize(
    ("attribute", "instead"),
    [
        ("max_exceptions", "tries"),
        ("maxExceptions", "tries"),
        ("retry_until", "backoff"),
        ("retryUntil", "backoff"),
        ("failOnTimeout", "tries = 1"),
        ("delete_when_missing_models", "handle"),
        ("afterCommit", "committed"),
        ("delay", r"dispatch\(job, delay=60\)"),
        ("uniqueFor", "lock"),
        ("middleware", "handle"),
    ],
)
def test_a_policy_of_laravels_that_is_not_supported_says_what_to_write(attribute: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=rf"Made has an attribute `{attribute}`.*{instead}"):
        define(**{attribute: 5})


def test_every_unsupported_word_is_found_in_either_spelling() -> None:
    assert {word for word in UNSUPPORTED if word != word.replace("_", "").lower()} == set()
    assert not UNSUPPORTED.keys() & {name.replace("_", "") for name in POLICY}


@pytest.mark.parametrize("attribute", ORDINARY.split())
def test_an_attribute_of_ones_own_is_none_of_it(attribute: str) -> None:
    assert getattr(define(**{attribute: "x"}), attribute) == "x"
    assert getattr(define(**{attribute: 5}), attribute) == 5


@pytest.mark.parametrize("attribute", ["names", "queues", "timeouts", "connections"])
def test_a_near_word_whose_value_no_policy_could_have_is_ones_own(attribute: str) -> None:
    assert define(**{attribute: {"a": 1}}).__dict__[attribute] == {"a": 1}


@pytest.mark.parametrize(
    "made",
    [
        lambda: property(lambda self: 5),
        lambda: classmethod(lambda cls: 5),
        lambda: staticmethod(lambda: 5),
        lambda: functools.cached_property(lambda self: 5),
        lambda: lambda self: 5,
        lambda: type("Inner", (), {}),
    ],
)
def test_methods_properties_and_nested_classes_are_none_of_it(made: Callable[[], object]) -> None:
    assert "trys" in vars(define(trys=made(), delay=made()))


def test_a_field_may_have_any_name_that_is_no_policy() -> None:
    @dataclass(frozen=True)
    class Delayed(Job):
        """Its fields are named as policies elsewhere."""

        delay: int = 5
        retries: int = 3

    @dataclass(frozen=True)
    class Later(Delayed):
        """The same fields, with another default."""

        retries = 4

    assert Delayed().to_data() == {"delay": 5, "retries": 3}
    assert Later.retries == 4


def test_an_annotation_that_makes_no_field_hides_nothing() -> None:
    with pytest.raises(ConfigError, match="did you mean `tries`"):

        class Wrong(Job):
            """Says that it is no field."""

            trys: ClassVar[int] = 5


def test_what_a_mixin_says_is_looked_at() -> None:
    class Patient:
        """Policy that several jobs share."""

        trys = 5

    with pytest.raises(ConfigError, match=r"Wrong has an attribute `trys`"):

        class Wrong(Patient, Job):
            """Takes it over."""


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        ("timeout", float("inf")),
        ("timeout", float("nan")),
        ("timeout", -1),
        ("batch_wait_ms", float("inf")),
        ("backoff", float("inf")),
        ("backoff", [1, float("nan")]),
        ("backoff", -1),
        ("backoff", "1,-5"),
        ("backoff", 3_000_000),
        ("aliases", ["a"]),
        ("tries", 1.0),
        ("runs_elsewhere", 1),
    ],
)
def test_a_value_that_would_be_lost_on_the_way_is_none(policy: str, value: Any) -> None:
    cls = define(**{policy: value})

    with pytest.raises(ConfigError, match=rf"a\.Job has .*{policy}"):
        check_values(cls, "a.Job")
