"""Workers on a database that do anything in any order, over lines that break anywhere."""

import pytest
from sqlalchemy import make_url

from lamplighter.queue.drivers.leasing.store import JobStore
from tests.lamplighter.queue.drivers.database.conftest import MakeStore, url_of
from tests.lamplighter.queue.drivers.leasing.cutting import Cutting
from tests.lamplighter.queue.drivers.leasing.fuzz import LEASE, Fuzz

pytestmark = pytest.mark.slow


def test_each_job_runs_until_it_is_done_and_each_start_is_counted_once(kind: str, make_store: MakeStore) -> None:
    target = None
    if kind != "sqlite":
        url = make_url(url_of(kind))
        target = str(url.host), int(url.port or 0)

    def make(line: Cutting | None) -> JobStore:
        if line is None:
            return make_store(seconds=LEASE)
        over = make_url(url_of(kind)).set(host="127.0.0.1", port=line.port)
        return make_store(seconds=LEASE, url=over.render_as_string(hide_password=False))

    Fuzz(make, target).run()
