"""The table `provider`."""

from datetime import datetime

from sqlalchemy import Boolean, DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Provider(Model):
    """A provider of services."""

    __tablename__ = "provider"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text())
    published: Mapped[bool] = mapped_column(Boolean())
    venue_id: Mapped[str | None] = mapped_column(id_type())
    contact_id: Mapped[str | None] = mapped_column(id_type())
    created: Mapped[datetime] = mapped_column(DateTime())
    updated: Mapped[datetime] = mapped_column(DateTime())
    flagged: Mapped[bool] = mapped_column(Boolean())
