"""The table `taxonomy`."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Taxonomy(Model):
    """A word that services are sorted by."""

    __tablename__ = "taxonomy"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
