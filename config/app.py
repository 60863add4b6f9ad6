"""The application: what it is called, where it runs, which time it keeps."""

from lamplighter import env

config = {
    "name": env("APP_NAME", "Data Store"),
    "env": env("APP_ENV") or "production",
    "debug": env("APP_DEBUG", False),
    "timezone": env("APP_TIMEZONE", "Europe/London"),
}
