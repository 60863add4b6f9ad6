"""The table `costoption`."""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Costoption(Model):
    """What a service costs."""

    __tablename__ = "costoption"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    option: Mapped[str] = mapped_column(Text())
