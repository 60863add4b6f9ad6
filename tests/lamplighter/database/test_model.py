"""The base class of models."""

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model


def test_each_constraint_has_a_name_that_a_migration_can_use() -> None:
    class Letter(Model):
        __tablename__ = "test_letters"
        __table_args__ = (UniqueConstraint("stamp"),)

        id: Mapped[int] = mapped_column(primary_key=True)
        stamp: Mapped[int] = mapped_column(ForeignKey("test_letters.id"), index=True)

    table = Letter.metadata.tables["test_letters"]

    assert {str(constraint.name) for constraint in table.constraints} == {
        "pk_test_letters",
        "uq_test_letters_stamp",
        "fk_test_letters_stamp_test_letters",
    }
    Letter.metadata.remove(table)
