"""SQLAlchemy connections, and alembic migrations."""
