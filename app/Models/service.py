"""The table `service`."""

from datetime import datetime

from sqlalchemy import Boolean, DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class Service(Model):
    """A service of a provider."""

    __tablename__ = "service"

    id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text())
    provider_id: Mapped[str] = mapped_column(id_type())
    event_id: Mapped[str | None] = mapped_column(id_type())
    eligibility_id: Mapped[str | None] = mapped_column(id_type())
    costoption_id: Mapped[str | None] = mapped_column(id_type())
    created: Mapped[datetime] = mapped_column(DateTime())
    updated: Mapped[datetime] = mapped_column(DateTime())
    flagged: Mapped[bool] = mapped_column(Boolean())
