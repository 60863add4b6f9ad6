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

    def describe_consumer_groups(self, groups: list[str]) -> dict[str, Future[Any]]:
        self.asked += 1
        given = SimpleNamespace(topic_partitions=[TopicPartition("t", number) for number in self.owned])
        members = [SimpleNamespace(group_instance_id=name, assignment=None) for name in ("two", "one")]
        members.append(SimpleNamespace(group_instance_id=None, assignment=given))
        return {"g": self._answer(SimpleNamespace(state=self.state, members=members))}

    def describe_topics(self, topics: object, *, request_timeout: float) -> dict[str, Future[Any]]:
        partitions = [SimpleNamespace(id=number) for number in range(4)]
        return {"t": self._answer(SimpleNamespace(name="t", partitions=partitions))}

    def _answer(self, value: object) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.error is not None:
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


def acts(group: Group, name: str, *, looks: int) -> list[int]:
    """At which of so many looks a member acts, counted from 1."""
    member = Unowned({**CONFIG, "group.instance.id": name}, ["t"])
    return [look for look in range(1, looks + 1) if _look(member, look)]


def _look(member: Unowned, look: int) -> bool:
    at = time.monotonic() + look * EVERY
    assert not member.are_there(at)  # the question
    return member.are_there(at + 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("one", [2, 4, 8, 16]), ("two", [3, 6, 11, 20])],
    ids=["the first member", "the second member"],
)
def test_members_act_one_after_the_other_and_more_and_more_rarely(group: Group, name: str, expected: list[int]) -> None:
    assert acts(group, name, looks=20) == expected


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

    assert acts(group, "one", looks=10) == []
    assert group.asked == 10


@pytest.mark.parametrize(
    ("code", "asked"),
    [(KafkaError._UNSUPPORTED_FEATURE, 1), (KafkaError.GROUP_AUTHORIZATION_FAILED, 10)],
    ids=["the embedded broker", "a broker that refuses"],
)
def test_brokers_that_never_tell_are_asked_once(group: Group, code: int, asked: int) -> None:
    group.error = KafkaError(code)

    assert acts(group, "one", looks=10) == []
    assert group.asked == asked


def test_one_that_the_group_does_not_know_does_not_act(group: Group) -> None:
    assert acts(group, "three", looks=10) == []


def test_partitions_that_are_owned_at_the_next_look_are_left_alone(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    member = Unowned({**CONFIG, "group.instance.id": "one"}, ["t"])

    found = []
    for look, owned in enumerate([(0, 1), (0, 1, 2, 3), (0, 1, 2), (0, 1, 3), (0, 1)], start=1):
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
