"""The count of attempts in a payload."""

import json

import pytest

from lamplighter.queue.failed.attempts import with_attempts, without_attempts


def test_a_further_attempt_changes_no_other_byte() -> None:
    payload = (
        b'{"uuid":"u","data":{"price":1.50,"text":"\\u00e9\\/","big":12345678901234567890},"attempts":1,"delay":null}'
    )

    assert with_attempts(payload, 2) == payload.replace(b'"attempts":1', b'"attempts":3')


@pytest.mark.parametrize("before", ["{%s}", '{%s,"attempts":null}', '{%s,"attempts":0}'])
def test_a_count_that_is_not_there_begins_at_zero(before: str) -> None:
    found = with_attempts((before % '"job":"a"').encode(), 1)

    assert found is not None
    assert json.loads(found) == {"job": "a", "attempts": 1}


def test_what_only_a_lenient_reader_takes_is_counted_too() -> None:
    found = with_attempts(b'{"job":"a","data":"\\ud83d","attempts":1}', 1)

    assert found is not None
    assert json.loads(found) == {"job": "a", "data": "\ud83d", "attempts": 2}


@pytest.mark.parametrize("payload", [b"", b"[]", b"rubbish", b'{"attempts":"many"}', b"[" * 100_000])
def test_what_has_no_place_for_it_is_told(payload: bytes) -> None:
    assert with_attempts(payload, 1) is None


def test_without_attempts_undoes_it() -> None:
    payload = b'{"job":"a","attempts":0}'

    counted = with_attempts(payload, 3)

    assert counted is not None
    assert without_attempts(counted) == payload
