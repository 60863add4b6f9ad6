"""What is dispatched can be read by a worker, and is the same there."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Self, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.container import Container
from lamplighter.errors import ConfigError, InvalidData, InvalidPayload, MessageTooLarge, Unavailable
from lamplighter.queue.dispatching import readable
from lamplighter.queue.dispatching.readable import ReadablePayloads
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import CLAIM_JOB, MAX_BYTES, MAX_DEPTH, read, write
from lamplighter.queue.jobs.registry import Registry

NAN, INFINITY = float("nan"), float("inf")


class Colour(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: float


class Address(TypedDict):
    """A dictionary with known keys."""

    street: str


@dataclass(frozen=True)
class Item:
    """A dataclass within a job."""

    price: float | None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Special(Item):
    """More than a field of the type Item takes."""

    more: int = 5


@dataclass(frozen=True)
class Unequal:
    """Can be compared with nothing."""

    size: int

    def __eq__(self, other: object) -> bool:
        raise LookupError("not to be compared")

    __hash__ = object.__hash__


LONDON = ZoneInfo("Europe/London")


class Nowhere(tzinfo):
    """A zone that can't tell its offset."""

    def tzname(self, when: datetime | None, /) -> str:
        """No name."""
        return "Nowhere"

    def dst(self, when: datetime | None, /) -> None:
        """Nothing."""

    def utcoffset(self, when: datetime | None, /) -> timedelta:
        """Raise."""
        raise LookupError("no such zone")


class NoOffset(Nowhere):
    """A zone that has no offset."""

    def utcoffset(self, when: datetime | None, /) -> None:  # type: ignore[override]
        """None."""


class Point(msgspec.Struct):
    """A struct within a job."""

    x: float | None


def worker(*classes: type[Job]) -> ReadablePayloads:
    """Payloads of an application that has registered these classes."""
    registry = Registry(Container())
    registry.register(*classes)
    return ReadablePayloads(lambda: registry)


def job_of(kind: Any, value: object, **attributes: object) -> Job:
    """A job of a class with one field, `value`, of this type."""
    body = {"__annotations__": {"value": kind}, "handle": lambda self: None, "name": "one", "__module__": __name__}
    cls: Any = dataclass(frozen=True)(type("One", (Job,), {**body, **attributes}))
    return cls(value)  # type: ignore[no-any-return]


def arrived(payload: bytes, cls: type[Job]) -> Job:
    """The job that a worker makes of a payload."""
    return cls.from_data(read(payload).data)


def dispatched(job: Job) -> Job:
    """The job as it has arrived; InvalidPayload where it was refused."""
    return arrived(worker(type(job)).of_job(job, id="1"), type(job))


# values ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 2**70),
        (float, 5),
        (float, -0.0),
        (float, 1e308),
        (float | None, None),
        (list[float], []),
        (str, "nan, null and ü"),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime, datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-5)))),
        (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=UTC)),
        (dict[datetime, int], {datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=UTC): 1, datetime(2026, 1, 1): 2}),
        (dict[float, int], {1: 1, 2.5: 2}),
        (dict[Decimal, int], {Decimal("1.50"): 1, 2: 2}),
        (datetime, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
        (date, date(2026, 1, 2)),
        (time, time(12, 30)),
        (time, time(12, 30, tzinfo=UTC)),
        (time, time(12, 30, fold=1, tzinfo=timezone(timedelta(hours=2)))),
        (set[time], {time(12, 30), time(12, 30, tzinfo=UTC)}),
        (dict[time, list[int]], {time(12, 30, tzinfo=UTC): [1]}),
        (set[Decimal], {Decimal("1.50"), Decimal(2)}),
        (set[tuple[Any, ...]], {(1, 1.5), ("a", None)}),
        (dict[float, list[int]], {1: [2], 0.5: [3]}),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (UUID, UUID(int=5)),
        (Decimal, Decimal("1.50")),
        (Decimal, Decimal("NaN")),
        (bytes, b"\xff\x00"),
        (Colour, Colour.RED),
        (Sequence[int], (1, 2)),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (frozenset[Colour], frozenset({Colour.RED})),
        (dict[int, str], {1: "one"}),
        (dict[UUID, float], {UUID(int=5): 1}),
        (Mapping[date, tuple[int, ...]], {date(2026, 1, 2): (1,)}),
        (Any, {"a": [1, None, "x", {"b": 1.5}], "c": (1, 2)}),
        (object, "anything"),
        (Item, Item(1.5, ("a",))),
        (list[Item | None], [Item(None), None]),
        (Point, Point(1.0)),
        (Pair, Pair(1, 2.0)),
        (Address, {"street": "Quay Street"}),
        (int | str | None, "5"),
    ],
)
def test_what_fits_its_field_arrives_as_it_was(kind: Any, value: object) -> None:
    job = job_of(kind, value)

    came = dispatched(job)

    sent = list(value) if kind == Sequence[int] else value  # type: ignore[call-overload]
    if kind is Any:
        sent = {**value, "c": [1, 2]}  # type: ignore[dict-item]
    assert repr(came.value) == repr(sent if value != 5 else 5.0) or came.value == sent  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (float, NAN, "`value` is nan, which JSON has no number for"),
        (float | None, -INFINITY, "`value` is -inf"),
        (list[float], [1.0, NAN], r"`value\[1\]` is nan"),
        (list[float | None], [1.0, NAN], r"`value\[1\]` is nan"),
        (dict[str, float], {"a": INFINITY}, r"`value\.a` is inf"),
        (Any, {"a": [{"b": NAN}]}, r"`value\.a\[0\]\.b` is nan"),
        (Item, Item(NAN), r"`value\.price` is nan"),
        (Point, Point(NAN), r"`value\.x` is nan"),
        (int, "five", r"Expected `int`, got `str` - at `\$\.value`"),
        (int, None, r"Expected `int`, got `null` - at `\$\.value`"),
        (int, True, "got `bool`"),
        (int, 5.0, "got `float`"),
        (list[int], ["one"], r"at `\$\.value\[0\]`"),
        (date | None, 19_000.5, r"Expected `date \| null`, got `float` - at `\$\.value`"),
        (float, 2**53 + 1, "int and would arrive as float; the field `value` takes float"),
        (datetime, "2026-01-01T00:00:00Z", "str and would arrive as datetime; the field `value` takes datetime"),
        (UUID | None, str(UUID(int=1)), r"str and would arrive as UUID; the field `value` takes uuid\.UUID \| None"),
        (Decimal, "1.5", "str and would arrive as Decimal"),
        (Decimal, 0.5, "float and would arrive as Decimal"),
        (bytes, "YQ==", "str and would arrive as bytes"),
        (str, b"a", "bytes and would arrive as str"),
        (Colour, "red", "str and would arrive as .*Colour"),
        (str, Colour.RED, "Colour and would arrive as str"),
        (datetime, datetime(2026, 10, 25, 2, 30, fold=1), "`value` is a datetime with fold=1.*give it a timezone"),
        (
            dict[datetime, int],
            {datetime(2026, 10, 25, 2, 30, fold=1): 1},
            "`value` has a key that is a datetime with fold=1.*give it a timezone",
        ),
        (
            dict[datetime, list[int]],
            {datetime(2026, 1, 1): [], datetime(2026, 10, 25, 2, 30, fold=1): [1]},
            "`value` has a key that is a datetime with fold=1",
        ),
        (list[datetime], [datetime(2026, 10, 25, 2, 30, fold=1)], r"`value\[0\]` is a datetime with fold=1"),
        (
            set[datetime],
            {datetime(2026, 10, 25, 2, 30, fold=1)},
            r"`value\[...\]` is a datetime with fold=1",
        ),
        (time, time(9, tzinfo=LONDON), "`value` is a time in a timezone that has no offset.*take an offset"),
        (list[time], [time(9, tzinfo=LONDON)], r"`value\[0\]` is a time in a timezone"),
        (set[time], {time(9, tzinfo=LONDON)}, r"`value\[...\]` is a time in a timezone"),
        (set[tuple[time, int]], {(time(9, tzinfo=LONDON), 1)}, r"`value\[...\]\[0\]` is a time in a timezone"),
        (dict[time, int], {time(9, tzinfo=LONDON): 1}, "`value` has a key that is a time in a timezone"),
        (datetime, datetime(2026, 1, 1, tzinfo=NoOffset()), "`value` is a datetime in a timezone that has no offset"),
        (Any, datetime(2026, 1, 1), "datetime and would arrive as str"),
        (Any, {1: "a"}, "`value` has a key of type int, which would arrive as str"),
        (dict[str, int], {1: 1}, "a key of type int, which would arrive as str"),
        (list[int], {1}, "set and would arrive as list"),
        (Item, Special(1.0), "Special and would arrive as Item"),
        (Item, {"price": 1.0}, "dict and would arrive as Item"),
        (Address, {"street": "Quay Street", "town": "Leith"}, "has 2 keys, of which 1 would arrive"),
        (str, "half a pair: \ud800", "`value` can't be written as JSON: .*surrogate"),
        (Any, {"\udfff": 1}, "`value` can't be written as JSON: .*surrogate"),
        (Any, object(), "`value` can't be written as JSON: .*object"),
        (Any, 1j, "`value` can't be written as JSON: .*complex"),
        (Any, {(1, 2): 3}, "`value` can't be written as JSON: .*keys"),
        (Any, msgspec.Raw(b"1"), "`value` can't be written as JSON: .*Raw"),
    ],
)
def test_what_a_worker_could_not_read_or_would_change_is_refused(kind: Any, value: object, told: str) -> None:
    with pytest.raises(InvalidPayload, match=rf"{__name__}\.One was not dispatched.*{told}"):
        dispatched(job_of(kind, value))


def test_a_field_that_can_not_be_written_or_compared_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*`value`.*LookupError: no such zone"):
        dispatched(job_of(datetime, datetime(2026, 1, 1, tzinfo=Nowhere())))

    monkeypatch.setattr(readable, "difference", lambda *_: 1 / 0)
    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*`value`.*ZeroDivisionError"):
        dispatched(job_of(datetime, datetime(2026, 1, 1)))


def test_an_own_way_of_writing_that_raises_is_named() -> None:
    def to_data(job: Job) -> object:
        raise KeyError("size")

    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*writing it has raised KeyError: 'size'"):
        dispatched(job_of(int, 1, to_data=to_data))


def test_an_error_that_can_not_say_its_text_is_named_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError("no words")

    def to_data(job: Job) -> object:
        raise Mute

    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*writing it has raised Mute"):
        dispatched(job_of(int, 1, to_data=to_data))


@pytest.mark.parametrize("data", [Unequal(1), {"a": Unequal(1)}])
def test_data_of_a_string_job_that_can_not_be_compared_are_refused(data: object) -> None:
    with pytest.raises(InvalidPayload, match=r"'x' was not dispatched.*LookupError: not to be compared"):
        worker().of_data("x", data, id="1")


VALUES: Mapping[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(codec="utf-8")),
    bool: st.booleans(),
    bytes: st.binary(),
    Decimal: st.decimals(),
    date: st.dates(),
    time: st.times(),
    datetime: st.datetimes().map(lambda moment: moment.replace(fold=0)) | st.datetimes(timezones=st.just(UTC)),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
}
KEYS = (int, str, date, UUID, Colour)


@st.composite
def typed(draw: st.DrawFn) -> tuple[Any, Any]:
    """A type, and a value that it takes."""
    kind: Any = draw(st.sampled_from(list(VALUES)))
    values = VALUES[kind]
    shape = draw(st.sampled_from(["one", "none", "list", "tuple", "set", "dict", "nested"]))
    if shape == "none":
        return kind | None, draw(values | st.none())
    if shape == "list":
        return list[kind], draw(st.lists(values, max_size=4))
    if shape == "tuple":
        return tuple[kind, ...], tuple(draw(st.lists(values, max_size=4)))
    if shape == "set" and kind is not Decimal:
        return frozenset[kind], draw(st.frozensets(values, max_size=4))
    if shape == "dict":
        key = draw(st.sampled_from(KEYS))
        return dict[key, kind], draw(st.dictionaries(VALUES[key], values, max_size=4))  # type: ignore[valid-type]
    if shape == "nested":
        return list[dict[str, list[kind]]], [{"a": draw(st.lists(values, max_size=3))}]
    return kind, draw(values)


@given(typed())
@settings(max_examples=120, deadline=None)
def test_whatever_a_type_takes_is_dispatched(pair: tuple[Any, Any]) -> None:
    kind, value = pair

    came = dispatched(job_of(kind, value))

    assert repr(came.value) == repr(value) or came.value == value  # type: ignore[attr-defined]


ANY = st.recursive(
    st.one_of(st.none(), st.floats(), *VALUES.values()),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inside, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from([Any, object, dict, list, *VALUES, *(kind | None for kind in VALUES), dict[str, Any]]), ANY)
@settings(max_examples=250, deadline=None)
def test_whatever_is_dispatched_arrives_as_it_was(kind: Any, value: Any) -> None:
    job = job_of(kind, value)

    try:
        came = dispatched(job)
    except InvalidPayload:
        return

    # Not `==` first: a signalling NaN raises.
    assert repr(came.value) == repr(value) or came.value == value  # type: ignore[attr-defined]
    assert type(came.value) is type(value) or (type(value) is int and type(came.value) in (float, Decimal))  # type: ignore[attr-defined]


# bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def nested(levels: int) -> Any:
    """Lists within each other."""
    inside: Any = 1
    for _ in range(levels):
        inside = [inside]
    return inside


def test_data_as_deep_as_a_worker_reads_are_dispatched() -> None:
    job = job_of(Any, nested(MAX_DEPTH - 2))  # the payload's braces and those of its data are two more

    assert dispatched(job) == job


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, 600, 100_000])
def test_deeper_data_are_refused(levels: int) -> None:
    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*nested"):
        dispatched(job_of(Any, nested(levels)))
    with pytest.raises(InvalidPayload, match=r"'x' was not dispatched.*nested"):
        worker().of_data("x", [nested(levels)], id="1")


def test_data_that_hold_themselves_are_refused() -> None:
    data: dict[str, Any] = {}
    data["self"] = data

    with pytest.raises(InvalidPayload, match="`value` is nested too deep, or holds itself"):
        dispatched(job_of(Any, data))


def test_a_payload_that_is_larger_than_a_worker_reads_is_too_large() -> None:
    with pytest.raises(MessageTooLarge, match=r"One has a payload of .* at most 16,777,216"):
        dispatched(job_of(str, "x" * MAX_BYTES))
    with pytest.raises(MessageTooLarge, match="'x' has a payload of") as raised:
        worker().of_data("x", "x" * MAX_BYTES, id="1")
    size, limit = raised.value.size, raised.value.limit
    assert (size, limit) == (len(write("x", "x" * MAX_BYTES, id="1")), MAX_BYTES)


# classes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Letter(Job):
    """A job that is not frozen."""

    name = "letter"
    tries = 3
    aliases = {"recipient": "to"}  # noqa: RUF012

    recipient: str
    ids: list[int] = field(default_factory=list)

    def handle(self) -> None:
        """Nothing."""

    @cached_property
    def greeting(self) -> str:
        """Computed when it is asked for."""
        return f"Dear {self.recipient}"


@dataclass
class Urgent(Letter):
    """Takes its name from another class."""


@dataclass(frozen=True)
class Elsewhere(Job):
    """Another application runs it."""

    name = "elsewhere"
    runs_elsewhere = True

    number: int
    price: float = 0


class Bare(Job):
    """A job without fields."""

    name = "bare"

    def handle(self) -> None:
        """Nothing."""


def test_a_class_that_is_not_registered_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidPayload) as raised:
        worker().of_job(Letter("me"), id="1")

    told = str(raised.value)
    assert f"{__name__}.Letter" in told
    assert "app/Jobs" in told
    assert "app.make(Registry).register(Letter)" in told
    assert "runs_elsewhere = True" in told
    assert "Dispatcher.push('letter', data)" in told


def test_a_class_that_is_registered_later_is_dispatched_then() -> None:
    registry = Registry(Container())
    payloads = ReadablePayloads(lambda: registry)
    with pytest.raises(InvalidPayload):
        payloads.of_job(Letter("me"), id="1")

    registry.register(Letter)

    assert arrived(payloads.of_job(Letter("me"), id="1"), Letter) == Letter("me")


def test_a_subclass_that_a_worker_would_take_for_its_base_is_refused() -> None:
    with pytest.raises(
        InvalidPayload, match=r"Urgent was not dispatched: a worker would run .*Letter in its place.*name"
    ):
        worker(Letter).of_job(Urgent("me"), id="1")


def test_what_runs_elsewhere_needs_neither_registration_nor_handler() -> None:
    payload = json.loads(worker().of_job(Elsewhere(5), id="1"))

    assert (payload["job"], payload["data"]) == ("elsewhere", {"number": 5, "price": 0})


def test_what_runs_elsewhere_is_checked_by_its_own_types() -> None:
    with pytest.raises(InvalidPayload, match=r"Elsewhere was not dispatched.*\$\.number"):
        worker().of_job(Elsewhere("five"), id="1")  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="`price` is nan"):
        worker().of_job(Elsewhere(5, NAN), id="1")


def test_what_runs_elsewhere_is_looked_at_as_any_class() -> None:
    class Wrong(Job):
        """Takes what does not travel."""

        runs_elsewhere = True

        def __init__(self, recipient: str) -> None:
            self.recipient = recipient

    with pytest.raises(ConfigError, match="Wrong takes recipient"):
        worker().of_job(Wrong("me"), id="1")


def test_only_jobs_are_dispatched() -> None:
    for thing in (Letter, "letter", {"job": "letter"}):
        with pytest.raises(InvalidPayload, match=r"A job such as SendLetter\(\.\.\.\) is dispatched"):
            worker(Letter).of_job(thing, id="1")  # type: ignore[arg-type]


def test_a_job_travels_under_its_aliases() -> None:
    payload = worker(Letter).of_job(Letter("me"), id="1")

    assert json.loads(payload)["data"] == {"to": "me", "ids": []}
    assert arrived(payload, Letter) == Letter("me")


def test_a_field_that_was_changed_after_the_job_was_made_travels() -> None:
    job = Letter("me")
    job.ids.append(5)
    assert job.greeting == "Dear me"  # computed, and no field
    job._sum = 5  # type: ignore[attr-defined]  # private, and nobody's business

    assert arrived(worker(Letter).of_job(job, id="1"), Letter) == Letter("me", [5])


def test_what_a_job_holds_beside_its_fields_is_refused() -> None:
    job = Letter("me")
    job.sender = "you"  # type: ignore[attr-defined]

    with pytest.raises(InvalidPayload, match=r"Letter was not dispatched.*`sender` is no field, and would not arrive"):
        worker(Letter).of_job(job, id="1")


def test_a_job_without_fields_holds_none() -> None:
    job = Bare()
    job.sender = "you"  # type: ignore[attr-defined]

    with pytest.raises(InvalidPayload, match="`sender` is no field"):
        worker(Bare).of_job(job, id="1")


def test_one_job_may_have_its_own_tries() -> None:
    job = Letter("me")
    job.tries, job.timeout, job.backoff = 5, 2.5, [1, 7]  # type: ignore[misc]

    payload = json.loads(worker(Letter).of_job(job, id="1"))

    assert (payload["maxTries"], payload["timeout"], payload["backoff"]) == (5, 2.5, "1,7")


@pytest.mark.parametrize(
    ("policy", "value", "told"),
    [
        ("tries", "5", "'5' for tries, which takes a whole number"),
        ("tries", -1, "-1 for tries"),
        ("timeout", NAN, "nan for timeout"),
        ("timeout", INFINITY, "inf for timeout"),
        ("backoff", "soon", "a backoff that can't be used"),
        ("queue", 5, "5 for queue"),
        ("connection", b"kafka", "for connection"),
        ("name", "other", "`name` is no field"),
        ("aliases", {"recipient": "x"}, ""),
        ("batch_size", 5, "`batch_size` is no field"),
    ],
)
def test_policy_of_one_job_that_no_worker_could_read_is_refused(policy: str, value: object, told: str) -> None:
    job = Letter("me")
    setattr(job, policy, value)

    with pytest.raises(InvalidPayload, match=rf"{__name__}\.Letter .*{told}"):
        worker(Letter).of_job(job, id="1")


# reading and writing by oneself ───────────────────────────────────────────────────────────────────────────────────────


class Model:
    """A row, say."""

    def __init__(self, id: int) -> None:
        self.id = id


@dataclass(frozen=True)
class Ship(Job):
    """Reads and writes a field that has no form of its own."""

    name = "ship"

    order: Model
    weight: float | None = None

    @classmethod
    def from_data(cls, data: object) -> Self:
        """The order by its id."""
        assert isinstance(data, dict)
        return cls(Model(data["order"]), data["weight"])

    def to_data(self) -> object:
        """The order's id."""
        return {"order": self.order.id, "weight": self.weight}

    def handle(self) -> None:
        """Nothing."""


class Parcel(Job):
    """Has a constructor, and says itself what travels."""

    name = "parcel"

    def __init__(self, id: int) -> None:
        self.id = id

    @classmethod
    def from_data(cls, data: object) -> Self:
        """By its id."""
        return cls(data)  # type: ignore[arg-type]

    def to_data(self) -> object:
        """Its id."""
        return self.id

    def handle(self) -> None:
        """Nothing."""


def test_a_class_that_reads_by_itself_is_asked_once() -> None:
    came = arrived(worker(Ship).of_job(Ship(Model(5)), id="1"), Ship)

    assert came.order.id == 5  # type: ignore[attr-defined]
    assert read(worker(Parcel).of_job(Parcel(7), id="1")).data == 7


def test_what_json_can_not_hold_is_refused_for_a_class_that_reads_by_itself() -> None:
    with pytest.raises(InvalidPayload, match=r"Ship was not dispatched.*`weight` is nan"):
        worker(Ship).of_job(Ship(Model(5), NAN), id="1")


def reading(read: Callable[[Any, object], object], **attributes: object) -> Job:
    """A job whose class reads its data so."""
    return job_of(Any, 1, from_data=classmethod(read), **attributes)


def broken(cls: Any, data: object) -> object:
    """Asks for what is not there."""
    raise KeyError("order")


def away(cls: Any, data: object) -> object:
    """Asks a service."""
    raise Unavailable("The rows are away.")


def test_what_a_class_raises_that_reads_by_itself_is_told_with_its_name() -> None:
    with pytest.raises(InvalidPayload, match=r"One was not dispatched.*has raised KeyError: 'order'"):
        dispatched(reading(broken))


def test_a_service_that_is_away_while_a_class_reads_by_itself_is_nobodys_fault() -> None:
    with pytest.raises(Unavailable):
        dispatched(reading(away))


def test_a_class_that_makes_something_else_of_its_data_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="`from_data` has made a NoneType of its data"):
        dispatched(reading(lambda cls, data: None))


def test_a_class_that_writes_what_it_does_not_read_is_refused() -> None:
    with pytest.raises(InvalidPayload, match=r"missing required field `value`"):
        dispatched(job_of(int, 1, to_data=lambda self: {"valu": self.value}))
    with pytest.raises(InvalidPayload, match=r"`value` is of type int and would arrive with another value"):
        dispatched(job_of(int, 1, to_data=lambda self: {"value": self.value + 1}))


def test_what_is_raised_while_a_job_is_made_of_its_data_is_told() -> None:
    def check(self: Any) -> None:
        if self.value > 5:
            raise RuntimeError("too much")

    job = job_of(int, 1, __post_init__=check)
    object.__setattr__(job, "value", 6)

    with pytest.raises(InvalidPayload, match="has raised RuntimeError: too much"):
        dispatched(job)


# string jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"n": 1, "none": None, "text": "null"},
        (1, 2),
        {1: "a", 1.5: "b"},
        {"at": datetime(2026, 1, 1, tzinfo=UTC), "ids": {5}, "item": Item(None), "key": {UUID(int=1): Colour.RED}},
        msgspec.Raw(b'{"ready": [1.5, null]}'),
        {"ready": msgspec.Raw(b"[1]"), "pair": (1, 2)},
        2**70,
        "text",
    ],
)
def test_a_string_job_takes_what_json_can_write(data: object) -> None:
    payload = worker().of_data("theirs", data, id="1")

    assert read(payload).data == msgspec.json.decode(msgspec.json.encode(data))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (NAN, "`data` is nan"),
        ({"a": [1, INFINITY]}, r"`a\[1\]` is inf"),
        ({"at": datetime(2026, 1, 1), "a": (NAN,)}, r"`a\[0\]` is nan"),
        ([Item(NAN)], r"`data\[0\]\.price` is nan"),
        ({1: "a", "1": "b"}, "has 2 keys, of which 1 would arrive"),
        (msgspec.Raw(b"{broken"), "no payload"),
        (msgspec.Raw(b"[NaN]"), "no payload"),
        (msgspec.Raw(b'1, "attempts": -5'), "malformed|trailing"),
        ({"ready": msgspec.Raw(b"[1]"), "x": NAN}, "`x` is nan"),
        ({"ready": msgspec.Raw(b"[1]"), "x": object()}, "`x` can't be written as JSON"),
        ("\ud800", "`data` can't be written as JSON"),
        ({None: 1}, "keys"),
    ],
)
def test_a_string_job_whose_data_json_can_not_hold_is_refused(data: object, told: str) -> None:
    with pytest.raises(InvalidPayload, match=rf"The string job 'theirs' was not dispatched.*({told})"):
        worker().of_data("theirs", data, id="1")


@pytest.mark.parametrize("text", [rb'["\ud800", 1e5]', rb'"\udc00\ud800"', rb'{"\udfff": "\ud83d\ude00"}'])
def test_json_that_is_written_already_may_have_half_a_pair_as_its_escape(text: bytes) -> None:
    payload = worker().of_data("theirs", msgspec.Raw(text), id="1")

    assert text in payload
    assert read(payload).data == json.loads(text)


@pytest.mark.parametrize(
    "text", [rb'"\ud800", "attempts": -5', rb'["\ud800"', rb'["\ud800", NaN]', rb'["\ud800", 1e999]']
)
def test_half_a_pair_hides_nothing_else(text: bytes) -> None:
    with pytest.raises(InvalidPayload):
        worker().of_data("theirs", msgspec.Raw(text), id="1")


def test_a_string_job_that_is_registered_here_is_checked_by_its_class() -> None:
    payloads = worker(Letter)

    assert arrived(payloads.of_data("letter", {"to": "me"}, id="1"), Letter) == Letter("me")
    assert arrived(payloads.of_data("letter@handle", {"to": "me"}, id="1"), Letter) == Letter("me")
    with pytest.raises(InvalidPayload, match=r"'letter' was not dispatched.*recipient"):
        payloads.of_data("letter", {"to": 5}, id="1")


@pytest.mark.parametrize("name", ["", None, 5, b"letter", CLAIM_JOB, "\ud800"])
def test_a_string_job_has_a_name_that_can_be_found(name: Any) -> None:
    with pytest.raises(InvalidPayload, match="was not dispatched"):
        worker().of_data(name, {}, id="1")


# what is checked is what a worker does ────────────────────────────────────────────────────────────────────────────────


def test_the_check_takes_the_workers_own_way() -> None:
    """Whatever reads differently one day, reads differently in both."""
    registry = Registry(Container())
    registry.register(Letter)
    entry = registry.get("letter")
    assert entry is not None

    def refuse(data: object) -> Job:
        raise InvalidData("not today")

    registry._entries["letter"] = dataclasses.replace(entry, make=refuse)

    with pytest.raises(InvalidPayload, match="not today"):
        ReadablePayloads(lambda: registry).of_job(Letter("me"), id="1")


def test_the_registry_is_asked_for_when_the_first_payload_is_written() -> None:
    asked: list[int] = []

    def registry() -> Registry:
        asked.append(1)
        return Registry(Container())

    payloads = ReadablePayloads(registry)
    assert asked == []

    payloads.of_data("x", None, id="1")

    assert asked == [1]


def test_no_value_is_told() -> None:
    secret = "a-password"

    with pytest.raises(InvalidPayload) as raised:
        dispatched(job_of(dict[str, int], {"word": secret}))

    assert re.search(secret, str(raised.value)) is None
