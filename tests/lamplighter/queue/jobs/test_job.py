"""The base class of every job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import msgspec
import pytest

from lamplighter.errors import ConfigError, InvalidData
from lamplighter.queue.jobs.job import Job


@dataclass(frozen=True)
class Welcome(Job):
    """A job with fields, policy and an alias."""

    name = "provider.welcome"
    tries = 3
    aliases = {"provider_id": "provider-id"}  # noqa: RUF012

    provider_id: str
    language: str = "en"

    def handle(self) -> None:
        """Nothing to do."""


class Colour(Enum):
    """A choice."""

    RED = "red"


class Bare(Job):
    """A job without fields."""

    def handle(self) -> None:
        """Nothing to do."""


def test_fields_are_the_annotated_names_under_their_wire_names() -> None:
    job = Welcome.from_data({"provider-id": "p1", "unknown": 1})

    assert job == Welcome("p1")
    assert job.to_data() == {"provider-id": "p1", "language": "en"}


@dataclass(frozen=True)
class Rich(Job):
    """A job with fields that JSON has no word for."""

    at: datetime
    day: date
    who: UUID
    price: Decimal
    raw: bytes
    colour: Colour
    ids: frozenset[int]
    words: dict[int, str]
    rows: Mapping[UUID, tuple[int, ...]]

    def handle(self) -> None:
        """Nothing to do."""


def test_what_is_dispatched_is_what_runs() -> None:
    who = UUID(int=3)
    job = Rich(
        at=datetime(2026, 11, 24, 12, tzinfo=UTC),
        day=date(2026, 11, 24),
        who=who,
        price=Decimal("1.50"),
        raw=b"\xff",
        colour=Colour.RED,
        ids=frozenset({1, 2}),
        words={1: "one"},
        rows={who: (1, 2)},
    )

    assert Rich.from_data(json.loads(msgspec.json.encode(job.to_data()))) == job


def test_a_value_that_does_not_fit_names_its_field() -> None:
    with pytest.raises(InvalidData, match=r"provider\.welcome.*provider_id"):
        Welcome.from_data({"provider-id": 7})


@pytest.mark.parametrize("data", [None, [], "", {}])
def test_what_php_writes_for_no_data_is_an_empty_object(data: object) -> None:
    assert isinstance(Bare.from_data(data), Bare)


def test_a_list_is_no_object() -> None:
    with pytest.raises(InvalidData, match="object"):
        Welcome.from_data([1])


def test_half_of_a_surrogate_pair_is_no_name_of_a_field() -> None:
    with pytest.raises(InvalidData, match="surrogates not allowed"):
        Welcome.from_data({"\ud800": 1})


def test_a_class_without_a_name_travels_under_its_path() -> None:
    assert Bare.wire_name() == f"{__name__}.Bare"


@pytest.mark.parametrize("policy", ["tries", "backoff", "timeout", "queue", "name", "key", "handle"])
def test_a_field_named_as_a_policy_is_refused_at_definition(policy: str) -> None:
    with pytest.raises(ConfigError, match=policy):
        type("Wrong", (Job,), {"__annotations__": {policy: int}})
