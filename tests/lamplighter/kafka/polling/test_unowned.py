"""When a static member has its group give out partitions that nobody has."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from lamplighter.kafka.polling import unowned
from lamplighter.kafka.polling.unowned import Unowned, is_needed
from lamplighter.kafka.settings.native import ConsumerGroupState, KafkaError, KafkaException, TopicPartition

EVERY = 15.0  # seconds between two looks with these settings
CONFIG = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "topic.metadata.refresh.interval.ms": 10_000}


@dataclass
class Group:
    """A group of two static members and another one, and a topic of four partitions, of which they have some."""

    owned: Sequence[int] = (0, 1, 2)
    state: ConsumerGroupState = ConsumerGroupState.STABLE
    answers: bool = True
    error: KafkaError | None = None
    asked: int = field(default=0)
    broken: Exception | None = None
    bad_answer: Exception | None = None

    def describe_consumer_groups(self, groups: list[str]) -> dict[str, Future[Any]]:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        given = SimpleNamespace(topic_partitions=[TopicPartition("t", number) for number in self.owned])
        members = [SimpleNamespace(group_instance_id=name, assignment=None) for name in ("two", "one")]
        members.append(SimpleNamespace(group_instance_id=None, member_id="three", assignment=given))
        return {"g": self._answer(SimpleNamespace(state=self.state, members=members))}

    def describe_topics(self, topics: object, *, request_timeout: float) -> dict[str, Future[Any]]:
        partitions = [SimpleNamespace(id=number) for number in range(4)]
        return {"t": self._answer(SimpleNamespace(name="t", partitions=partitions))}

    def _answer(self, value: object) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.bad_answer is not None:
            answer.set_exception(self.bad_answer)
        elif self.error is not None:
            answer.set_exception(KafkaException(self.error))
        elif self.answers:
            answer.set_result(value)
        return answer


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    """What every client asks."""
    group = Group()
    monkeypatch.setattr(unowned, "AdminClient", lambda config: group)
    return group


def unowned_of(name: str = "one", *, wait: float = 0) -> Unowned:
    """What a member of that name looks at its group with."""
    return Unowned({**CONFIG, "group.instance.id": name}, ["t"], wait=wait)


def acts(name: str, *, looks: int, wait: float = 0) -> list[int]:
    """At which of so many looks a member acts, counted from 1."""
    member = unowned_of(name, wait=wait)
    return [look for look in range(1, looks + 1) if _look(member, look)]


def _look(member: Unowned, look: int) -> bool:
    at = time.monotonic() + look * EVERY
    assert not member.are_there(at)  # the question
    return member.are_there(at + 1)


@pytest.mark.parametrize(
    ("name", "wait", "expected"),
    [
        ("one", 0, [2, 5, 10, 19]),
        ("two", 0, [3, 7, 13, 23]),
        ("one", 2, [3, 7, 13, 24]),
        ("one", 30, [4, 11, 24]),
        ("two", 30, [5, 13]),
    ],
)
@pytest.mark.usefixtures("group")
def test_members_act_one_after_the_other_and_more_and_more_rarely(name: str, wait: float, expected: list[int]) -> None:
    assert acts(name, looks=24, wait=wait) == expected


def test_a_partition_that_is_handed_over_is_waited_for(group: Group) -> None:
    member = unowned_of(wait=30)

    found = []
    for look, owned in enumerate([(0, 1, 2, 3), (0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2, 3)], start=1):
        group.owned = owned
        found.append(_look(member, look))

    assert not any(found)


@pytest.mark.parametrize("sign", ["the group was not stable", "others have other partitions", "the client has told"])
def test_one_waits_twice_as_long_where_sharing_out_was_of_no_use(group: Group, sign: str) -> None:
    member = unowned_of("two")  # it would act at the third look

    found = []
    for look in range(1, 8):
        group.state = ConsumerGroupState.STABLE
        if look == 3 and sign == "the group was not stable":
            group.state = ConsumerGroupState.PREPARING_REBALANCING
        if sign == "others have other partitions":
            group.owned = (0, 1, 2) if look >= 3 else (0, 1)
        if look == 3 and sign == "the client has told":
            member.shared_out()
        if _look(member, look):
            found.append(look)

    # 30 s of its own and 15 s for being the second, from the first stable look on
    assert found == ([7] if sign == "the group was not stable" else [6])


def test_one_more_unowned_partition_is_not_waited_for_as_long_as_one_that_nothing_has_helped(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    member = unowned_of()
    assert [look for look in range(1, 11) if _look(member, look)] == [2, 5, 10]
    group.owned = (0, 1)

    found = [look for look in range(11, 14) if _look(member, look)]

    assert found == [12]
    assert vars(caplog.records[-1])["partitions"] == "t[2]"


@pytest.mark.parametrize("at", ["broken", "bad_answer"])
def test_a_look_that_fails_is_told_once_and_tried_again(
    group: Group, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    member = unowned_of()
    setattr(group, at, OSError("ca.pem is missing"))
    failed = [_look(member, look) for look in range(1, 4)]
    setattr(group, at, None)

    found = [look for look in range(4, 6) if _look(member, look)]

    assert failed == [False] * 3
    assert [vars(record)["reason"] for record in caplog.records[:-1]] == ["OSError: ca.pem is missing"]
    assert found == [5]


def test_an_answer_that_was_read_late_counts_for_nothing(group: Group) -> None:
    member = unowned_of()
    at = time.monotonic()
    _look(member, 1)
    assert not member.are_there(at + 2 * EVERY + 1)

    found = member.are_there(at + 4 * EVERY)

    assert not found
    assert group.asked == 2


@pytest.mark.parametrize(
    "as_it_is",
    [
        {"owned": range(4)},
        {"state": ConsumerGroupState.PREPARING_REBALANCING},
        {"answers": False},
    ],
    ids=["all are owned", "the group is about to share out", "nobody answers"],
)
def test_no_member_acts_without_need(group: Group, as_it_is: dict[str, Any]) -> None:
    vars(group).update(as_it_is)

    assert acts("one", looks=10) == []
    assert group.asked == 10


@pytest.mark.parametrize(
    ("code", "asked"),
    [(KafkaError._UNSUPPORTED_FEATURE, 1), (KafkaError.GROUP_AUTHORIZATION_FAILED, 10)],
    ids=["the embedded broker", "a broker that refuses"],
)
def test_brokers_that_never_tell_are_asked_once(group: Group, code: int, asked: int) -> None:
    group.error = KafkaError(code)

    assert acts("one", looks=10) == []
    assert group.asked == asked


@pytest.mark.usefixtures("group")
def test_one_that_the_group_does_not_know_does_not_act() -> None:
    assert acts("three", looks=10) == []


def test_partitions_that_are_owned_at_the_next_look_are_left_alone(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    member = unowned_of()

    found = []
    for look, owned in enumerate([(0, 1), (0, 1, 2, 3), (0, 1, 2), (0, 1, 3), (0, 1, 3)], start=1):
        group.owned = owned
        found.append(_look(member, look))

    assert found == [False, False, False, False, True]
    assert [vars(record)["partitions"] for record in caplog.records] == ["t[2]"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"group.instance.id": "one"}, True),
        ({"group.instance.id": "one", "group.protocol": "classic"}, True),
        ({"group.instance.id": "one", "group.protocol": "consumer"}, False),
        ({}, False),
    ],
)
def test_only_static_members_of_classic_groups_need_it(config: dict[str, Any], expected: bool) -> None:
    assert is_needed(config) == expected
