"""Large payloads of a leasing connection: what is put aside, and what becomes of it."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import AlreadyDone, ClaimLost, ConfigError, MessageTooLarge
from lamplighter.queue.claims.claims import envelope_of, reference_of
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.queue.jobs.payload import CLAIM_JOB, write

NAMES = ("jobs",)
LARGE = write("probe", {"text": "x" * 5000}, id="7", max_tries=3)


class Narrow(MemoryStore):
    """A store that carries payloads alone, and no large ones."""

    keeps_headers = False

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Look at all sizes first."""
        for message in messages:
            if len(message.payload) > 3000:
                raise MessageTooLarge("too large", size=len(message.payload), limit=3000)
        super().push(queue, messages, delay)


class Opened:
    """A connection with a folder for large payloads."""

    def __init__(self, folder: Path, store: MemoryStore, *, above: int = 2000) -> None:
        claims = make_claims(ClaimOptions(claim_check=str(folder), claim_above=above), where="here")
        self.queue = LeasingQueue("memory", store, default_queue="jobs", claims=claims)
        self.queue.open(NAMES, SimpleQueue())

    def take(self) -> LeasedDelivery:
        """Pop what must be there."""
        delivery = self.queue.pop(NAMES, 0)
        assert delivery is not None
        return delivery

    def close(self) -> None:
        """Leave."""
        assert self.queue.close(timeout=1)


def files(folder: Path) -> list[tuple[str, int]]:
    """What is in the folder: suffixes and sizes."""
    return sorted((path.suffix, path.stat().st_size) for path in folder.iterdir())


def test_a_large_payload_is_named_by_the_data_of_a_small_one(tmp_path: Path) -> None:
    one = Opened(tmp_path, Narrow())

    one.queue.push(Message(LARGE, b"7"), queue="jobs")

    small = json.loads(one.take().payload)
    assert (small.pop("job"), list(small.pop("data"))) == (CLAIM_JOB, ["claim"])
    assert small == {key: value for key, value in json.loads(LARGE).items() if key not in ("job", "data")}
    assert files(tmp_path) == [(".claim", len(LARGE))]
    one.close()


def test_what_the_store_refuses_for_its_size_is_put_aside_and_no_other(tmp_path: Path) -> None:
    one = Opened(tmp_path, Narrow(), above=1_000_000)
    messages = [Message(write("probe", {"n": n, "text": "x" * size}, id=str(n))) for n, size in enumerate((10, 5000))]

    assert one.queue.bulk(messages, queue="jobs") == 2

    assert len(files(tmp_path)) == 1
    assert one.queue.sizes("jobs").pending == 2
    one.close()


def test_what_is_no_payload_of_a_job_is_refused_by_its_size(tmp_path: Path) -> None:
    one = Opened(tmp_path, Narrow())

    with pytest.raises(MessageTooLarge):
        one.queue.push(Message(b"x" * 5000), queue="jobs")

    one.close()


@pytest.mark.parametrize("end", ["delete", "fail", "release", "leave"])
def test_a_payload_is_kept_until_its_job_is_done(tmp_path: Path, end: str) -> None:
    store = Narrow()
    one = Opened(tmp_path, store)
    one.queue.push(Message(LARGE), queue="jobs")
    delivery = one.take()
    assert one.queue.read_claim(delivery) == LARGE
    acts: dict[str, Callable[[], object]] = {
        "delete": delivery.delete,
        "fail": lambda: delivery.fail(ValueError()),
        "release": lambda: delivery.release(0),
        "leave": lambda: None,
    }

    acts[end]()
    one.close()
    delivery.delete()  # too late, by a handler that was left behind

    assert files(tmp_path) == [(".done", 0) if end == "delete" else (".claim", len(LARGE))]


def test_a_job_whose_end_the_store_did_not_hear_of_is_known_as_done(tmp_path: Path) -> None:
    store = Narrow(seconds=0.01)
    one, other = Opened(tmp_path, store), Opened(tmp_path, store)
    one.queue.push(Message(LARGE), queue="jobs")
    delivery = one.take()
    one.queue.read_claim(delivery)
    delivery.lease.handle[0].reservation += 1  # what it says of the lease is not heard
    delivery.delete()
    time.sleep(0.02)

    again = other.take()

    with pytest.raises(AlreadyDone):
        other.queue.read_claim(again)
    again.delete()
    one.close()
    other.close()


def test_a_claim_without_a_folder_fails_with_advice() -> None:
    queue = LeasingQueue("memory", MemoryStore(), default_queue="jobs")
    queue.open(NAMES, SimpleQueue())
    queue.push(Message(envelope_of(LARGE)), queue="jobs")
    delivery = queue.pop(NAMES, 0)
    assert delivery is not None

    with pytest.raises(ClaimLost, match="has no claim_check"):
        queue.read_claim(delivery)

    queue.close(timeout=1)


@pytest.mark.parametrize(
    "data",
    [b"null", b"7", b'"claim"', b'{"claim":7}', b'{"claim":"file:../../etc/passwd:00:1"}', b'{"claim":"\\ud800"}'],
)
def test_data_can_name_no_file_but_a_claim(data: bytes) -> None:
    assert reference_of(b'{"job":"%b","data":%b}' % (CLAIM_JOB.encode(), data)) is None


def test_the_data_of_another_job_name_no_file(tmp_path: Path) -> None:
    one = Opened(tmp_path, Narrow())
    one.queue.push(Message(LARGE), queue="jobs")
    small = one.take().payload
    one.close()

    assert reference_of(small) is not None
    assert reference_of(small.replace(CLAIM_JOB.encode(), b"other")) is None


def test_a_payload_has_no_age_before_its_job_is_due_and_is_young_when_it_is_pushed_again(tmp_path: Path) -> None:
    one = Opened(tmp_path, Narrow())
    one.queue.push(Message(LARGE), queue="jobs")
    small = one.take().payload
    [kept] = tmp_path.iterdir()
    os.utime(kept, (0, 0))

    one.queue.push(Message(small), queue="jobs")
    one.queue.push(Message(LARGE), queue="jobs", delay=1000)

    ages = sorted(time.time() - path.stat().st_mtime for path in tmp_path.iterdir())
    assert -1001 < ages[0] < -990
    assert -1 < ages[1] < 10
    assert len(ages) == 2
    one.close()


@pytest.mark.parametrize("options", [{"claim_check": "claims"}, {"claim_above": -1}])
def test_a_folder_that_each_process_finds_elsewhere_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"config/queue\.py"):
        make_claims(ClaimOptions(**options), where="config/queue.py (connections.redis)")  # type: ignore[arg-type]
