"""Whoever reads what others wrote survives any bytes: it returns, or raises an error of ours, and keeps what it keeps.

`make faults` runs the same with far more examples.
"""

import base64
import io
import json
from contextlib import suppress
from datetime import UTC
from pathlib import Path

import confluent_kafka
import msgspec
import pytest
from hypothesis import strategies as st

from lamplighter.console.output import Output
from lamplighter.contracts import Headers
from lamplighter.errors import ClaimLost, UnreadablePayload
from lamplighter.kafka.deadletters.letter import PREFIX, fields_of
from lamplighter.kafka.deadletters.letter import read as read_letter
from lamplighter.kafka.deadletters.letter import write as write_letter
from lamplighter.kafka.delays.delayed_message import CLOCK, HEADER, asks_for_time, wrap
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.monitoring.counting import _held
from lamplighter.kafka.monitoring.lag import Log, measure
from lamplighter.kafka.partitions.offset_map import PREFIX as HANDOVER
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.reading.replay import _record
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.claims.claims import HEADER as CLAIM
from lamplighter.queue.claims.claims import envelope_of, reference_in
from lamplighter.queue.claims.folder import Claim, FileClaims
from lamplighter.queue.commands.delayed import _fields
from lamplighter.queue.commands.lines import JsonLines, Lines
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing, JobReleased
from lamplighter.queue.failed.attempts import with_attempts, without_attempts
from lamplighter.queue.failed.naming import chosen_id, name_of
from lamplighter.queue.jobs.payload import read
from lamplighter.queue.pools.process.wire import Run, frame, to_slot
from tests.lamplighter.hostile import (
    any_bytes,
    failure_of,
    headers,
    hostile,
    keys,
    payloads,
    records,
    runner,
    start_of,
    texts,
)
from tests.lamplighter.kafka.records import headers_in, record_of

MIGRATIONS = Path(__file__).parents[2] / "database/migrations"
TARGETS = targets_of(KafkaSettings(queue="store", dead_letter_topic="letters"))


# payloads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@hostile(payloads)
def test_a_payload_is_read_or_refused(payload: bytes) -> None:
    with suppress(UnreadablePayload):
        read(payload)


@hostile(payloads, keys)
def test_a_job_of_any_payload_can_be_named_and_judged(payload: bytes, key: bytes | None) -> None:
    start, _ = start_of(payload, key)

    assert isinstance(start.id, str)
    assert start.attempts >= 1
    assert start.policy.delay_after(start.attempts) >= 0
    assert isinstance(runner().has_further_start(start.delivery), bool)
    assert name_of(payload).isprintable()


@hostile(payloads, st.integers(0, 2**31))
def test_attempts_are_counted_in_any_payload_or_there_is_no_place(payload: bytes, more: int) -> None:
    counted = with_attempts(payload, more)

    assert counted is None or b'"attempts":' in counted
    assert isinstance(without_attempts(payload), bytes)


@pytest.mark.parametrize("kind", [Lines, JsonLines])
@hostile(payloads, keys)
def test_the_lines_of_any_job_can_be_printed(kind: type[Lines], payload: bytes, key: bytes | None) -> None:
    start, error = start_of(payload, key)
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    lines = kind(Output(screen, verbosity=1), UTC)

    lines.on_processing(JobProcessing(start))
    lines.on_processed(JobProcessed(start, 0.1))
    lines.on_released(JobReleased(start, 0.1, 1.0, error))
    lines.on_failed(JobFailed(start, 0.1, error))
    lines.flush()

    screen.seek(0)
    assert len(screen.read().splitlines()) >= 4


@hostile(payloads)
def test_an_envelope_of_any_payload_is_small_or_refused(payload: bytes) -> None:
    with suppress(msgspec.DecodeError, UnreadablePayload):
        assert read(envelope_of(payload)).data is None


# records of other topics ──────────────────────────────────────────────────────────────────────────────────────────────

numbers = st.one_of(st.integers(0, 10**16).map(b"%d".__mod__), st.just(b"-"), st.binary(max_size=6))
targets = st.one_of(st.sampled_from([b"orders", b"__consumer_offsets", b"letters"]), st.binary(max_size=9))
delay_headers = st.tuples(numbers, numbers, numbers, targets).map(b" ".join)


@hostile(records(headers(HEADER, CLOCK, values=delay_headers)))
def test_a_record_of_a_delay_topic_is_ours_or_keeps_its_bytes(record: confluent_kafka.Message) -> None:
    found = TARGETS.read(record)

    message = found.message
    assert (message.payload, message.key) == (record.value(), record.key())
    kept = [
        *message.headers,
        *((HEADER, value) for name, value in headers_in(record) if found.is_ours and name == HEADER),
    ]
    assert len(message.headers) == len(headers_in(record)) - found.is_ours
    assert all(header in kept for header in headers_in(record))
    assert found.is_ours or found.topic == "store"
    assert not asks_for_time(record) or not record.value()
    json.dumps(_fields(_held("store.delay.1[0]@0", found)), ensure_ascii=False).encode()
    again = TARGETS.read(record_of(wrap(message, "orders", due=9, sent=1), kind=1, at=1))
    assert list(again.message.headers) == list(message.headers)


letter_values = st.sampled_from(
    [b"1", b"2026-01-01T00:00:00+00:00", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"u-1"]
)
letter_names = [
    PREFIX + name for name in ("version", "id", "identity", "topic", "partition", "offset", "at", "settled")
]


@hostile(records(headers(*letter_names, values=letter_values)))
def test_a_dead_letter_is_read_with_its_bytes_or_nobodys(record: confluent_kafka.Message) -> None:
    told = fields_of(record)
    letter = None if told is None else read_letter(record, *told)

    if letter is not None:
        job = letter.job
        assert (job.payload, job.key) == (record.value(), record.key())
        assert list(job.headers) == headers_in(record)[: len(job.headers)]
        json.dumps([job.id, job.queue, job.exception], ensure_ascii=False).encode()
        assert job.failed_at.strftime("%Y-%m-%d")


@hostile(payloads, keys, headers(*letter_names, values=letter_values))
def test_a_letter_of_any_job_brings_it_back(payload: bytes, key: bytes | None, headers: Headers) -> None:
    failure = failure_of(*start_of(payload, key, headers))
    written = write_letter(failure, chosen_id(failure.uuid, failure.identity), limit=1_000_000)

    record = record_of(written, kind=1, at=1)
    told = fields_of(record)
    assert told is not None
    letter = read_letter(record, *told)

    assert letter is not None
    assert (letter.job.payload, letter.job.key, list(letter.job.headers)) == (payload, key, list(headers))


@hostile(records(headers("trace", values=any_bytes)))
def test_a_replayed_record_has_its_bytes(record: confluent_kafka.Message) -> None:
    found = _record(record)

    assert (found.value, found.key, list(found.headers)) == (record.value(), record.key(), headers_in(record))


@hostile(payloads, keys, headers("trace", values=any_bytes))
def test_a_slot_gets_the_bytes_of_a_record(payload: bytes, key: bytes | None, headers: Headers) -> None:
    run = Run(1, payload, key, list(headers), "store", "kafka", "store[0]@7", None, 0, False, 0)

    assert to_slot.decode(frame(run)[4:]) == run


# what commits say ─────────────────────────────────────────────────────────────────────────────────────────────────────

told_bytes = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]), max_size=60).map(bytes)
)
metadata = st.one_of(
    texts,
    texts.map(HANDOVER.__add__),
    told_bytes.map(lambda raw: HANDOVER + base64.b64encode(raw).decode().rstrip("=")),
)


@hostile(st.one_of(st.none(), metadata), st.one_of(st.integers(-2, 1_000), st.just(2**62)))
def test_any_metadata_of_a_commit_is_read_or_passed_over(told: str | None, position: int) -> None:
    assert OffsetMap.decode(told, position) is None or position >= 0
    lag = measure("store", 0, Log(0, 900, 1_000), committed=position, metadata=told)
    assert 0 <= lag.left <= lag.lag
    assert 0 <= lag.beyond <= lag.lag
    assert lag.lag + lag.in_transaction <= 1_000
    json.dumps(lag.as_dict(1e9))
    assert lag.line(1e9)
    assert bool(lag.notes()) == (lag.is_shorter or lag.in_transaction > 0)


# claims ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

references = st.from_regex(rb"\Afile:[0-9a-f]{32}:[0-9a-f]{64}:[0-9]{1,14}\Z")


@hostile(headers(CLAIM, values=references))
def test_a_claim_names_a_file_of_the_folder_or_none(found: Headers) -> None:
    reference = reference_in(found)

    assert reference is None or (reference.name.isalnum() and len(reference.name) == 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of this module."""
    return tmp_path_factory.mktemp("hostile")


@hostile(st.binary(max_size=60), st.data())
def test_a_claim_is_what_was_put_aside_or_lost(folder: Path, payload: bytes, data: st.DataObject) -> None:
    claims = FileClaims(folder / "claims")
    claim = Claim(claims.put(payload), "a" * 32)
    there = data.draw(st.one_of(st.just(payload), st.binary(max_size=60)))
    next((folder / "claims").glob(f"{claim.reference.name}*")).write_bytes(there)

    try:
        assert claims.read(claim) == payload
    except ClaimLost:
        assert there != payload
    claims.finish(claim)
    claims.give_back([claim])
