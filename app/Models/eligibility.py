"""The table `eligibility`."""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Eligibility(Model):
    """Who may use a service."""

    __tablename__ = "eligibility"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    eligibility: Mapped[str] = mapped_column(Text())
