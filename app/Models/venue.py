"""The table `venue`."""

from datetime import datetime

from sqlalchemy import Boolean, DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Venue(Model):
    """Where a service takes place."""

    __tablename__ = "venue"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    service_id: Mapped[str] = mapped_column(id_type())
    provider_id: Mapped[str | None] = mapped_column(id_type())
    name: Mapped[str] = mapped_column(String(255))
    address: Mapped[str] = mapped_column(Text())
    details: Mapped[str] = mapped_column(Text())
    created: Mapped[datetime] = mapped_column(DateTime())
    updated: Mapped[datetime] = mapped_column(DateTime())
    flagged: Mapped[bool] = mapped_column(Boolean())
