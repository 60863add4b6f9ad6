"""The table `event`."""

from datetime import datetime

from sqlalchemy import DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Event(Model):
    """When something takes place."""

    __tablename__ = "event"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    details: Mapped[str] = mapped_column(Text())
    time: Mapped[str] = mapped_column(String(255))
    venue_id: Mapped[str] = mapped_column(id_type())
    created: Mapped[datetime] = mapped_column(DateTime())
    updated: Mapped[datetime] = mapped_column(DateTime())
