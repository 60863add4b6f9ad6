"""The envelope on the wire."""

import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lamplighter.errors import UnreadablePayload
from lamplighter.queue.jobs.payload import MAX_BYTES, MAX_DEPTH, new_id, new_uuid, read, write

GOLDEN = Path(__file__).parents[3] / "golden"


def laravel_12_string_jobs() -> list[str]:
    """The string payloads that Laravel 12 pushed through the PHP Kafka driver."""
    vectors = json.loads((GOLDEN / "payloads_kafka_rapide_v12.json").read_text())["vectors"]
    return [vector["payload_raw"] for vector in vectors if vector["name"].startswith("string_job")]


def laravel_57_string_jobs() -> list[str]:
    """The string payloads of the version that the original application ran."""
    versions = json.loads((GOLDEN / "payloads_v5.7.21.json").read_text())["versions"]
    return [driver["string"]["raw"] for driver in versions["v5.7.21"].values()]


@pytest.mark.parametrize("raw", laravel_12_string_jobs() + laravel_57_string_jobs())
def test_what_laravel_wrote_is_read(raw: str) -> None:
    envelope = read(raw.encode())

    assert (envelope.job, envelope.data, envelope.id) == (
        json.loads(raw)["job"],
        json.loads(raw)["data"],
        json.loads(raw).get("id"),
    )


def test_what_we_write_has_laravels_keys_in_order_and_their_types() -> None:
    theirs: dict[str, Any] = json.loads(laravel_12_string_jobs()[0])

    ours: dict[str, Any] = json.loads(write("job.data.store", {"n": 1}, id="abc"))

    assert list(ours) == list(theirs)
    assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in theirs.items()}


def test_a_second_attempt_that_redis_re_encoded_is_read() -> None:
    golden = json.loads((GOLDEN / "redis_cjson_roundtrip.json").read_text())

    envelope = read(golden["reserved_after_pop"].encode())

    assert envelope.attempts == 1
    assert envelope.data["empty_list"] == {}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"null", "no payload"),
        (b"hello", "no payload"),
        (b"[1]", "no payload"),
        (b"{}", "job"),
        (b'{"job": 3}', "job"),
        (b'{"job": "x", "attempts": "many"}', "attempts"),
        (b'{"job": "x", "attempts": -1}', "attempts"),
        (b'{"job": "x", "attempts": 1e30}', "attempts"),
        (b'{"job": "x", "attempts": 1000000001}', "attempts"),
        (b'{"job": "x", "maxTries": {}}', "maxTries"),
        (b'{"job": "\xff\xfe"}', "no payload"),
        (b'{"job": "x"', "no payload"),
        (b'{"job": "x", "data": [1e400, "\\ud800"]}', "no payload"),
        (b'{"job": "x", "data": [NaN, "\\ud800"]}', "no payload"),
        (b'{"job":"x","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", f"deeper than {MAX_DEPTH}"),
        (b'{"job":"x","data":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}", f"deeper than {MAX_DEPTH}"),
        (b" " * (MAX_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_payload_says_why(payload: bytes | None, why: str) -> None:
    with pytest.raises(UnreadablePayload, match=why):
        read(payload)


def test_half_a_surrogate_pair_is_left_to_the_job() -> None:
    envelope = read(b'{"job": "x", "data": {"name": "a\\ud800b"}, "attempts": 1}')

    assert (envelope.data, envelope.attempts) == ({"name": "a\ud800b"}, 1)


@pytest.mark.parametrize(
    ("own", "id"),
    [
        ({"id": "i", "uuid": "u"}, "i"),
        ({"id": None, "uuid": "u"}, "u"),
        ({"uuid": "u"}, "u"),
        ({"id": 0, "uuid": "u"}, "0"),
        ({"id": "", "uuid": "u"}, ""),
        ({}, ""),
    ],
)
def test_the_uuid_stands_for_an_id_that_is_not_there(own: dict[str, Any], id: str) -> None:
    assert read(json.dumps({"job": "x", **own}).encode()).own_id() == id


def test_many_brackets_side_by_side_are_not_depth() -> None:
    payload = json.dumps({"job": "x", "data": [{"text": '[[["\\'}] * 2000}).encode()

    envelope = read(payload)

    assert len(envelope.data) == 2000


def test_a_string_that_is_never_closed_is_looked_at_once() -> None:
    payload = b'{"job":"x","data":' + b"[" * 600 + b'"' + b'\\"' * 40_000

    began = time.monotonic()
    with pytest.raises(UnreadablePayload):
        read(payload)

    assert time.monotonic() - began < 2


def test_the_name_to_show_is_the_job_without_its_method() -> None:
    payload = json.loads(write("reports@send", {}, id="abc"))

    assert (payload["displayName"], payload["job"]) == ("reports", "reports@send")


# ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_uuid_is_of_version_4() -> None:
    made = [new_uuid() for _ in range(1000)]

    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(4, uuid.RFC_4122)}
    assert {str(uuid.UUID(one)) for one in made} == set(made)


def test_no_two_threads_are_given_one_id() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [*pool.map(lambda _: new_id(), range(4000))]

    assert len(set(made)) == 4000


def test_no_two_processes_are_given_one_id() -> None:
    new_id()
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 32).decode() not in {new_id() for _ in range(300)}
