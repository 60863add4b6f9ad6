"""A program that forks while its store has connections: parent and child each go on by their own."""

from tests.lamplighter.queue.drivers.database.conftest import url_of
from tests.programs import run

PROGRAM = """
from pathlib import Path
from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How

driver, place, table = sys.argv[1:]
options = {"driver": driver, "database" if driver == "sqlite" else "url": place}
settings = {"default": "test", "connections": {"test": options}}
manager = DatabaseManager(Repository({"database": settings}), Path)
store = DatabaseStore(manager, "database", database=None, table=table, seconds=90)
store.push("default", [Message(b"%d" % n) for n in range(4)], 0)
[first] = store.take(("default",), 1, ()).leases
store.wait(("default",), 0.1)

child = os.fork()
if child == 0:
    [second] = store.take(("default",), 1, ()).leases
    store.wait(("default",), 0.1)
    store.take((), 0, [Ended(second, How.DELETED)])
    store.push("other", [Message(b"child")], 0)
    store.close()
    sys.exit(0 if second.payload == b"1" else 1)
print(outcome(child))
[third] = store.take(("default",), 1, [Ended(first, How.DELETED)]).leases
[fourth] = store.take(("default",), 1, [Ended(third, How.DELETED)]).leases
[other] = store.take(("other",), 1, [Ended(fourth, How.DELETED)]).leases
print(third.payload, fourth.payload, other.payload, store.sizes("default").reserved)
store.take((), 0, [Ended(other, How.DELETED)])
store.close()
"""


def test_both_go_on(kind: str, table: str, options: dict[str, str]) -> None:
    place = options["database"] if kind == "sqlite" else url_of(kind)

    said = run(PROGRAM, options["driver"], place, table)

    assert said == "0\nb'2' b'3' b'child' 0\n"


DISPOSED = PROGRAM.replace("child = os.fork()", "manager.dispose()\nchild = os.fork()", 1)


def test_a_child_goes_on_whose_parent_has_closed_all_connections(
    kind: str, table: str, options: dict[str, str]
) -> None:
    place = options["database"] if kind == "sqlite" else url_of(kind)

    assert run(DISPOSED, options["driver"], place, table) == "0\nb'2' b'3' b'child' 0\n"
