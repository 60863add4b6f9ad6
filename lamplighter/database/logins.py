"""Bounds how long a login to MySQL or MariaDB takes.

PyMySQL's `connect_timeout` ends when the kernel of the server has answered, which it does for a server that is frozen.
The one of psycopg lasts until the login is done.
"""

from typing import Any

from sqlalchemy import Engine, event

TIMEOUTS = ("read_timeout", "write_timeout")


def bound_logins(engine: Engine, seconds: float) -> None:
    """Let no read or write take longer than the connection's `connect_timeout`, until SQLAlchemy has made it ready.

    Statements have no such limit afterwards; what the URL says of `read_timeout` and `write_timeout` holds for both.
    """
    ours = [name for name in TIMEOUTS if name not in engine.url.query]

    @event.listens_for(engine, "do_connect")
    def begin(dialect: Any, entry: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        limit = keywords.get("connect_timeout", seconds)
        keywords.update(dict.fromkeys(ours, limit))

    @event.listens_for(engine, "connect")
    def end(connection: Any, entry: Any) -> None:
        for name in ours:
            setattr(connection, f"_{name}", None)
