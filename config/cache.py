"""Cache stores; the default one carries the restart signal of workers."""

from lamplighter import env, slug

name = slug(str(env("APP_NAME", "Data Store")))
default = env("CACHE_STORE", env("CACHE_DRIVER", "file"))

config = {
    "default": "null" if default is None else default,  # env() reads the word null as None
    "prefix": env("CACHE_PREFIX", f"{name}-cache-"),
    "stores": {
        "array": {"driver": "array"},
        "null": {"driver": "null"},
        "file": {"driver": "file", "path": "storage/framework/cache/data"},
        "redis": {
            "driver": "redis",
            "url": env("REDIS_URL"),
            "host": env("REDIS_HOST", "127.0.0.1"),
            "port": env("REDIS_PORT", 6379),
            "username": env("REDIS_USERNAME"),
            "password": env("REDIS_PASSWORD"),
            "database": env("REDIS_CACHE_DB", 1),
            "lock_database": env("REDIS_DB", 0),
            "prefix": env("REDIS_PREFIX", f"{name}-database-"),
        },
    },
}
