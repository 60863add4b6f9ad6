"""Database connections."""

from lamplighter import env

server = {
    "url": env("DB_URL"),
    "host": env("DB_HOST", "127.0.0.1"),
    "port": env("DB_PORT"),
    "database": env("DB_DATABASE", "data_store"),
    "username": env("DB_USERNAME", ""),
    "password": env("DB_PASSWORD", ""),
}

config = {
    "default": env("DB_CONNECTION", "sqlite"),
    "connections": {
        "sqlite": {"driver": "sqlite", "database": env("DB_DATABASE", "database/database.sqlite")},
        "pgsql": {"driver": "pgsql", **server},
        "postgresql": {"driver": "postgresql", **server},
        "mysql": {"driver": "mysql", **server},
    },
}
