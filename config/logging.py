"""Where log lines go, from which level on, and in which form."""

from lamplighter import env

default = env("LOG_CHANNEL", "stderr")

config = {
    "default": "null" if default is None else default,  # env() reads the word null as None
    "channels": {
        "single": {
            "driver": "single",
            "path": "storage/logs/lamplighter.log",
            "level": env("LOG_LEVEL", "info"),
            "format": env("LOG_FORMAT", "line"),
        },
        "stderr": {"driver": "stderr", "level": env("LOG_LEVEL", "info"), "format": env("LOG_FORMAT", "line")},
        "null": {"driver": "null"},
    },
}
