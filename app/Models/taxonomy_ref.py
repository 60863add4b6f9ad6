"""The table `taxonomy_ref`."""

from sqlalchemy.orm import Mapped, mapped_column

from lamplighter.database.model import Model, id_type


class TaxonomyRef(Model):
    """That a service is sorted under a word."""

    __tablename__ = "taxonomy_ref"

    service_id: Mapped[str] = mapped_column(id_type(), primary_key=True)
    taxonomy_id: Mapped[str] = mapped_column(id_type(), primary_key=True)
