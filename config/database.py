"""Connections to databases, and to Redis."""

from lamplighter import env, slug

server = {
    "url": env("DB_URL"),
    "host": env("DB_HOST", "127.0.0.1"),
    "port": env("DB_PORT"),
    "database": env("DB_DATABASE", "data_store"),
    "username": env("DB_USERNAME", ""),
    "password": env("DB_PASSWORD", ""),
}

redis = {
    "url": env("REDIS_URL"),
    "scheme": env("REDIS_SCHEME", "tcp"),
    "host": env("REDIS_HOST", "127.0.0.1"),
    "port": env("REDIS_PORT", 6379),
    "username": env("REDIS_USERNAME"),
    "password": env("REDIS_PASSWORD"),
    "sentinels": env("REDIS_SENTINELS", ""),
    "service": env("REDIS_SENTINEL_SERVICE", "mymaster"),
}

config = {
    "default": env("DB_CONNECTION", "sqlite"),
    "connections": {
        "sqlite": {"driver": "sqlite", "database": env("DB_DATABASE", "database/database.sqlite")},
        "pgsql": {"driver": "pgsql", **server},
        "postgresql": {"driver": "postgresql", **server},
        "mysql": {"driver": "mysql", **server, "strict": True},
    },
    # The connections of queues with the driver redis, as in Laravel; a Redis Cluster stands under redis.clusters.
    "redis": {
        "options": {"prefix": env("REDIS_PREFIX", f"{slug(str(env('APP_NAME', 'Data Store')))}-database-")},
        "default": {**redis, "database": env("REDIS_DB", 0)},
    },
}
