"""What waits for the commit of a session."""

import contextvars
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.transactions import Transactions
from tests.databases import empty_database


class Base(DeclarativeBase):
    """Tables of the test."""


class Order(Base):
    """A row."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Scene:
    """A database, and what was done."""

    def __init__(self, folder: Path) -> None:
        connections = {name: {"driver": "sqlite", "database": f"{name}.sqlite"} for name in ("one", "two")}
        config = Repository({"database": {"default": "one", "connections": connections}})
        self.databases = DatabaseManager(config, lambda path: folder / path)
        self.transactions = Transactions()
        self.databases.track(self.transactions)
        self.done: list[str] = []
        for name in connections:
            Base.metadata.create_all(self.databases.engine(name))

    def wait(self, word: str) -> bool:
        """Have a word said after the commit."""
        return self.transactions.after_commit(lambda: self.done.append(word), word=word)

    def orders(self) -> int:
        """How many rows there are, as others see them."""
        with self.databases.engine().connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM orders")))


@pytest.fixture
def scene(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Scene]:
    """A database."""
    caplog.set_level(logging.INFO)
    scene = Scene(tmp_path)
    yield scene
    scene.databases.dispose()


def test_without_a_transaction_nothing_waits(scene: Scene) -> None:
    session = scene.databases.session()

    assert not scene.wait("at once")

    session.add(Order(id=1))
    session.commit()
    assert (scene.wait("after it"), scene.transactions.is_open, scene.done) == (False, False, [])
    session.close()


def test_it_is_done_when_others_see_what_was_committed(scene: Scene) -> None:
    seen: list[int] = []
    with scene.databases.session() as session:
        session.add(Order(id=1))
        session.flush()

        assert scene.transactions.after_commit(lambda: seen.append(scene.orders()))
        assert seen == []
        session.commit()

    assert seen == [1]


def test_a_rollback_drops_it(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with scene.databases.session() as session:
        session.scalars(select(Order)).all()
        scene.wait("never")
        session.rollback()
        session.scalars(select(Order)).all()
        scene.wait("later")
        session.commit()

    assert scene.done == ["later"]
    [record] = [record for record in caplog.records if "was rolled back" in record.message]
    assert record.word == "never"  # type: ignore[attr-defined]


def test_a_savepoint_that_is_rolled_back_drops_its_own(scene: Scene) -> None:
    with scene.databases.session() as session, session.begin():
        scene.wait("outer")
        with session.begin_nested():
            scene.wait("released")
            with session.begin_nested() as inner:
                scene.wait("dropped")
                inner.rollback()
        session.begin_nested()
        scene.wait("released by the commit")
        session.add(Order(id=1))
        assert scene.done == []

    assert scene.done == ["outer", "released", "released by the commit"]


def test_a_savepoint_within_one_that_is_rolled_back_is_dropped_with_it(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (7)"))
        outer = session.begin_nested()
        with session.begin_nested():
            scene.wait("within")
        session.begin_nested()
        scene.wait("open")
        outer.rollback()
        scene.wait("kept")
        session.commit()

    assert scene.done == ["kept"]


def test_a_flush_that_fails_drops_it(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        session.commit()
        session.add(Order(id=1))
        scene.wait("never")
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()

    assert scene.done == []


def begins_with(statement: str) -> Callable[[Session], object]:
    """A statement that is run first."""
    return lambda session: session.execute(text(statement))


@pytest.mark.parametrize(
    ("first", "done"),
    [
        (lambda session: session.scalars(select(Order)).all(), ["word"]),
        (begins_with(" select 1"), ["word"]),
        (begins_with("INSERT INTO orders VALUES (7)"), []),
        (lambda session: session.add(Order(id=7)) or session.flush(), []),
        (lambda session: session.add(Order(id=7)) or session.connection(), []),
        (lambda session: session.connection().execute(text("INSERT INTO orders VALUES (7)")), []),
        (lambda session: session.connection().exec_driver_sql("DELETE FROM orders"), []),
        (lambda session: session.connection().execute(select(Order)).all(), ["word"]),
        (begins_with("WITH x AS (SELECT 7 AS id) INSERT INTO orders SELECT id FROM x"), []),
        (begins_with("WITH x AS (SELECT 7 AS inserted) SELECT * FROM x"), ["word"]),
        (lambda session: session.begin_nested().rollback() or session.connection(), ["word"]),
    ],
)
def test_a_session_that_is_closed_without_a_commit_drops_it_only_where_something_is_lost(
    scene: Scene, first: Callable[[Session], object], done: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    session = scene.databases.session()
    first(session)
    scene.wait("word")
    session.close()

    assert scene.done == done
    assert scene.orders() == 0
    assert ["closed without a commit" in record.message for record in caplog.records] == [True] * (1 - len(done))


@pytest.mark.postgresql
def test_a_write_in_the_head_of_a_query_counts(tmp_path: Path) -> None:
    databases = empty_database("postgresql", tmp_path)
    transactions = Transactions()
    databases.track(transactions)
    Base.metadata.create_all(databases.engine())
    done: list[str] = []

    for head in ("INSERT INTO orders VALUES (7) RETURNING id", "SELECT id FROM orders FOR UPDATE"):
        with databases.session() as session:
            session.execute(text(f"WITH x AS ({head}) SELECT * FROM x"))
            transactions.after_commit(lambda head=head: done.append(head))  # type: ignore[misc]

    databases.dispose()
    assert done == ["SELECT id FROM orders FOR UPDATE"]


def test_a_row_that_is_added_after_it_counts_as_written(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.scalars(select(Order)).all()
        scene.wait("never")
        session.add(Order(id=7))

    assert scene.done == []


def test_an_error_reaches_whoever_commits_and_keeps_back_no_other(scene: Scene) -> None:
    def fail() -> None:
        raise ConnectionError("away")

    with scene.databases.session() as session:
        session.add(Order(id=1))
        session.flush()
        scene.transactions.after_commit(fail)
        scene.transactions.after_commit(fail)
        scene.wait("other")

        with pytest.raises(ConnectionError) as raised:
            session.commit()

        session.add(Order(id=2))
        session.commit()

    assert raised.value.__notes__[0] == "Beside it: ConnectionError: away"
    assert (scene.done, scene.orders()) == (["other"], 2)


def test_the_latest_of_several_open_transactions_is_waited_for(scene: Scene) -> None:
    with scene.databases.session() as outer, scene.databases.session("two") as inner:
        outer.add(Order(id=1))
        outer.flush()
        scene.wait("outer")
        inner.add(Order(id=1))
        inner.flush()
        scene.wait("inner")
        inner.commit()
        assert scene.done == ["inner"]
        scene.wait("outer, too")
        outer.commit()

    assert scene.done == ["inner", "outer", "outer, too"]


def test_the_transaction_of_another_thread_is_none_of_this_one(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.scalars(select(Order)).all()
        found: list[bool] = []

        thread = threading.Thread(target=lambda: found.append(scene.transactions.is_open))
        thread.start()
        thread.join()

        assert (found, scene.transactions.is_open) == ([False], True)


def test_a_session_that_ends_in_another_context_is_not_open_here(scene: Scene) -> None:
    session = scene.databases.session()
    session.scalars(select(Order)).all()
    assert scene.transactions.is_open

    contextvars.copy_context().run(session.close)

    assert not scene.transactions.is_open


def test_what_a_session_takes_with_it_that_nobody_ends_is_said(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    session = scene.databases.session("two")
    session.scalars(select(Order)).all()
    scene.wait("lost")
    del session
    gc.collect()

    [record] = [record for record in caplog.records if record.message.startswith("a dispatch is lost")]
    assert (record.word, scene.done, scene.transactions.is_open) == ("lost", [], False)  # type: ignore[attr-defined]
