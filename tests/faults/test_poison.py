"""Records that are no jobs: fault test 16."""

import sqlite3

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import EMPTY, TWO, Fleet
from tests.faults.mock import Mock

pytestmark = [pytest.mark.faults, pytest.mark.slow]

POISON: list[tuple[bytes | None, bytes | None]] = [
    (b"1", None),
    (b"2", b""),
    (b"3", b"\x00\xff\xfe"),
    (b"4", b"{"),
    (b"5", b"[" * 100_000),
    (b"6", b'{"job":"nobody","data":{}}'),
    (b"7", b'{"job":"probe","data":{"n":"seven"}}'),
    (b"8", b'{"job":"probe","maxTries":"many","data":{}}'),
    (None, b'{"job":{},"data":[],"attempts":-4}'),
    (b"9", b'{"job":"probe","data":{"n":1},"backoff":"soon"}'),
    (b"k" * 5000, b'{"job":"probe","data":"' + b"x" * 900_000 + b'"}'),
]


@pytest.mark.parametrize("pool", TWO)
def test_records_that_are_no_jobs_are_kept_and_hold_nothing_up(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: each is among the failed jobs with its bytes, once; what stands around it is done."""
    fleet = make_fleet(mock, pool=pool, partitions=1)
    for n, record in enumerate(POISON):
        fleet.broker.publish(fleet.topic, [record], 0)
        fleet.publish({"n": n}, partition=0)

    assert fleet.worker(*EMPTY).wait(60) == 0, fleet.project.log()

    assert sorted(fleet.numbers("end")) == list(range(len(POISON)))
    assert _kept(fleet) == sorted((key or b"", value or b"") for key, value in POISON)
    fleet.wait_until_committed()


def _kept(fleet: Fleet) -> list[tuple[bytes, bytes]]:
    """Key and value of each failed job."""
    database = sqlite3.connect(fleet.project.folder / "database.sqlite")
    rows = database.execute("SELECT key, coalesce(payload_bytes, CAST(payload AS BLOB)) FROM failed_jobs").fetchall()
    database.close()
    return sorted((key or b"", value) for key, value in rows)
