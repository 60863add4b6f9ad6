"""Databases of a program that forks: its children connect anew, and nothing of theirs reaches the parent's sessions."""

import os
from pathlib import Path

import pytest

from tests.programs import run

BEGIN = """
from collections import Counter
from pathlib import Path
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ForkError

place = sys.argv[1]
options = {"driver": "pgsql", "url": place} if "://" in place else {"driver": "sqlite", "database": place}
settings = {"default": "test", "connections": {"test": options}}
manager = DatabaseManager(Repository({"database": settings}), Path)
engine = manager.engine()
with engine.begin() as connection:
    connection.execute(text("DROP TABLE IF EXISTS forks"))
    connection.execute(text("CREATE TABLE forks (who VARCHAR(20))"))

def add(connection, who):
    connection.execute(text("INSERT INTO forks VALUES (:who)"), {"who": who})

def rows():
    with engine.connect() as connection:
        return Counter(connection.execute(text("SELECT who FROM forks")).scalars())
"""

OWN = """
opened = []
event.listen(engine, "connect", lambda connection, entry: opened.append(connection))
with manager.statements().connection() as connection:
    add(connection, "parent")
pool = engine.pool
child = os.fork()
if child == 0:
    opened.clear()
    with manager.statements().connection() as connection:
        add(connection, "child")
    with manager.session() as session:
        add(session, "child")
        session.commit()
    is_own = manager.engine() is engine and engine.pool is not pool and len(opened) in (1, 2)
    sys.exit(0 if is_own else 1)
print(outcome(child), engine.pool is pool, sorted(rows().items()))
"""

# The last one who has a file of SQLite open removes its log, and all that others write there.
OUTLIVED = """
with manager.statements().connection() as connection:
    add(connection, "parent")
told, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    for _ in range(2):
        with manager.session() as session:
            add(session, "child")
            session.commit()
        os.write(told[1], b"1")
        os.read(go[0], 1)
    os._exit(0)
for _ in range(2):
    os.read(told[0], 1)
    manager.dispose()
    os.write(go[1], b"1")
print(outcome(child))
engine = manager.engine()
print(sorted(rows().items()))
"""

UNDER_WAY = """
with manager.session() as session:
    add(session, "parent")
    session.flush()
    child = os.fork()
    if child == 0:
        how = sys.argv[2]
        if how == "commit":
            try:
                session.commit()
            except (ForkError, DBAPIError):
                os._exit(0)
            os._exit(1)
        if how == "raise":
            sys.stderr = open(os.devnull, "w")
            raise RuntimeError("the child's own")
        sys.exit(0)
    print(outcome(child))
    add(session, "parent")
    session.commit()
print(sorted(rows().items()))
"""

IN_USE = """
with manager.session() as session:
    add(session, "parent")
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            rows()
        except ForkError as error:
            os._exit(0 if "Close sessions and connections before you fork" in str(error) else 1)
        os._exit(2)
    took = time.monotonic() - began
    session.commit()
print(outcome(child), took < 1, sorted(rows().items()))
"""

BUSY = """
ended, done = threading.Event(), Counter()

def sessions():
    while not ended.is_set():
        with manager.session() as session:
            session.execute(text("SELECT count(*) FROM forks")).scalar()
            add(session, "parent")
            session.commit()
            done["parent"] += 1

def read():
    while not ended.is_set():
        rows()

def statements():
    while not ended.is_set():
        with manager.statements().connection() as connection:
            add(connection, "statement")
            done["statement"] += 1

with manager.statements().connection() as connection:  # this thread keeps it
    add(connection, "kept")
threads = [threading.Thread(target=work, daemon=True) for work in (sessions, read, statements)]
for thread in threads:
    thread.start()
ends = []
for number in range(6):
    time.sleep(0.005)
    child = os.fork()
    if child == 0:
        with manager.session() as session:
            session.execute(text("SELECT count(*) FROM forks")).scalar()
            add(session, "child")
            session.commit()
        sys.exit(0)
    ends.append(outcome(child))
ended.set()
for thread in threads:
    thread.join()
print(set(ends), rows() == done + Counter(child=6, kept=1))
"""

FIRST = """
making = DatabaseManager(Repository({"database": settings}), Path)
thread = threading.Thread(target=lambda: making.engine().connect().close())
event.listen(engine.pool.__class__, "connect", lambda connection, entry: (begun.set(), time.sleep(0.2)))
begun = threading.Event()
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    with making.engine().connect() as connection:
        os._exit(0 if connection.execute(text("SELECT 1")).scalar() == 1 else 1)
thread.join()
print(outcome(child))
"""

MEMORY = """
child = os.fork()
if child == 0:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE forks (who VARCHAR(20))"))
        add(connection, "child")
    sys.exit(0 if rows() == {"child": 1} else 1)
print(outcome(child), dict(rows()))
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database: a file, or the address of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "test.sqlite")
    return server()


def server() -> str:
    url = os.environ.get("POSTGRES_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
        pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
    return url


def test_a_child_has_connections_of_its_own_behind_the_same_engine(place: str) -> None:
    assert run(BEGIN + OWN, place) == "0 True [('child', 2), ('parent', 1)]\n"


def test_what_a_child_commits_stays_though_its_parent_closes(place: str) -> None:
    assert run(BEGIN + OUTLIVED, place) == "0\n[('child', 2), ('parent', 1)]\n"


@pytest.mark.parametrize(("how", "code"), [("commit", 0), ("exit", 0), ("raise", 1)])
def test_a_session_that_was_under_way_is_the_parents_alone(place: str, how: str, code: int) -> None:
    assert run(BEGIN + UNDER_WAY, place, how) == f"{code}\n[('parent', 2)]\n"


def test_a_child_that_would_share_a_file_with_a_session_of_its_parent_is_told(tmp_path: Path) -> None:
    assert run(BEGIN + IN_USE, tmp_path / "test.sqlite") == "0 True [('parent', 1)]\n"


def test_children_use_a_database_that_threads_of_their_parent_use_at_the_fork(place: str) -> None:
    assert run(BEGIN + BUSY, place) == "{0} True\n"


def test_a_first_connection_of_another_thread_is_made_before_the_fork(place: str) -> None:
    assert run(BEGIN + FIRST, place) == "0\n"


def test_a_database_in_memory_is_new_in_a_child_and_stays_in_its_parent() -> None:
    assert run(BEGIN + MEMORY, ":memory:") == "0 {}\n"


@pytest.mark.postgresql
def test_the_server_sees_the_end_of_a_parent_though_its_child_lives() -> None:
    said = run(
        BEGIN
        + """
session = manager.session()
session.execute(text("SELECT pg_advisory_lock(4711)"))
stay = os.pipe()
parent = os.fork()
if parent == 0:
    os.close(stay[1])
    own = manager.session()
    own.execute(text("SELECT pg_advisory_lock(4712)"))
    if os.fork() == 0:
        os.read(stay[0], 1)  # until the test ends
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
print(outcome(parent))
until = time.monotonic() + 10
while not session.execute(text("SELECT pg_try_advisory_lock(4712)")).scalar() and time.monotonic() < until:
    time.sleep(0.05)
print(time.monotonic() < until)
""",
        server(),
    )

    assert said == "-9\nTrue\n"
