"""The table `contact`."""

from datetime import datetime

from sqlalchemy import Boolean, DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Contact(Model):
    """Whom to ask."""

    __tablename__ = "contact"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    url: Mapped[str | None] = mapped_column(Text())
    email: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    position: Mapped[str | None] = mapped_column(String(255))
    social_facebook: Mapped[str | None] = mapped_column(String(255))
    social_twitter: Mapped[str | None] = mapped_column(String(255))
    phonenumber: Mapped[str | None] = mapped_column(String(255))
    created: Mapped[datetime] = mapped_column(DateTime())
    updated: Mapped[datetime] = mapped_column(DateTime())
    flagged: Mapped[bool] = mapped_column(Boolean())
