"""Cache stores; the default one carries the restart signal of workers."""

import re

from lamplighter.support.env import env

slug = re.sub(r"[^a-z0-9]+", "-", str(env("APP_NAME", "Data Store")).lower()).strip("-")

config = {
    "default": env("CACHE_STORE", env("CACHE_DRIVER", "file")),
    "prefix": env("CACHE_PREFIX", f"{slug}-cache-"),
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
            "prefix": env("REDIS_PREFIX", f"{slug}-database-"),
        },
    },
}
