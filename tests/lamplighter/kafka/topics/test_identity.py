"""When a topic is known to be another than it was, and what happens where the brokers can't be asked."""

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from lamplighter.kafka.topics import identity
from lamplighter.kafka.topics.identity import EVERY, Identity


class Topics:
    """Brokers with topics: what each has for an id, or what the client says instead."""

    def __init__(self) -> None:
        self.ids: dict[str, str | Exception] = {"t": "1", "u": "1"}
        self.broken: Exception | None = None

    def describe_topics(self, topics: object, *, request_timeout: float) -> Mapping[str, Future[Any]]:
        """All are answered at once."""
        if self.broken is not None:
            raise self.broken
        return {name: self._answer(found) for name, found in self.ids.items()}

    def _answer(self, found: str | Exception) -> Future[Any]:
        answer: Future[Any] = Future()
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(SimpleNamespace(topic_id=found))
        return answer


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """What every client asks."""
    topics = Topics()
    monkeypatch.setattr(identity, "AdminClient", lambda config, logger: topics)
    return topics


def _look(known: Identity, look: int) -> list[str]:
    assert known.made_anew(look * EVERY) == []  # the question
    return known.made_anew(look * EVERY + 1)


def test_a_client_that_fails_is_told_once_and_asked_again(topics: Topics, caplog: pytest.LogCaptureFixture) -> None:
    known = Identity({}, ["t", "u"])
    assert _look(known, 1) == []
    topics.broken = OSError("ca.pem is missing")
    assert [_look(known, 2), _look(known, 3)] == [[], []]
    topics.broken = None
    topics.ids["t"] = "2"

    found = _look(known, 4)

    assert found == ["t"]
    assert [vars(record)["reason"] for record in caplog.records] == ["OSError: ca.pem is missing"]


def test_what_is_found_of_one_topic_is_not_lost_by_a_failure_of_another(topics: Topics) -> None:
    known = Identity({}, ["t", "u"])
    assert _look(known, 1) == []
    topics.ids.update(t="2", u=OSError("no more memory"))

    found = _look(known, 2)

    assert found == ["t"]
