"""Queue connections, and where failed jobs are kept."""

from lamplighter import env

default = env("QUEUE_CONNECTION", env("QUEUE_DRIVER", "sync"))

config = {
    "default": "null" if default is None else default,  # env() reads the word null as None
    # The connection kafka comes from config/kafka.py; what is said here under connections.kafka wins over it.
    "connections": {
        "sync": {"driver": "sync"},
        "null": {"driver": "null"},
        # In this process, at the end of the request, command or job that has dispatched.
        "deferred": {"driver": "deferred"},
        # Each job in a process of its own on this host.
        "background": {"driver": "background"},
        # On the first of these that answers.
        "failover": {"driver": "failover", "connections": ["kafka", "database"]},
        "database": {
            "driver": "database",
            "connection": env("DB_QUEUE_CONNECTION"),  # of config/database.py; None is the default one
            "table": env("DB_QUEUE_TABLE", "jobs"),
            "queue": env("DB_QUEUE", "default"),
            "retry_after": env("DB_QUEUE_RETRY_AFTER", 90),  # seconds after which a silent worker has lost its job
            "after_commit": False,
            "join_transaction": False,  # a job pushes in the transaction of its session, where that has begun one
        },
        "beanstalkd": {
            "driver": "beanstalkd",
            "host": env("BEANSTALKD_QUEUE_HOST", "localhost"),
            "port": env("BEANSTALKD_QUEUE_PORT", 11300),
            "queue": env("BEANSTALKD_QUEUE", "default"),
            "retry_after": env("BEANSTALKD_QUEUE_RETRY_AFTER", 90),  # seconds; renewed while a job runs
            "block_for": 0,  # an idle worker looks twice a second; more than 0: the server wakes it at once
        },
        "sqs": {
            "driver": "sqs",
            "key": env("SQS_KEY", ""),  # empty: the environment's, or the machine's role
            "secret": env("SQS_SECRET", ""),
            "token": env("SQS_TOKEN", ""),  # of temporary credentials
            "prefix": env("SQS_PREFIX", ""),  # https://sqs.REGION.amazonaws.com/ACCOUNT; empty: SQS is asked
            "queue": env("SQS_QUEUE", "default"),
            "suffix": env("SQS_SUFFIX", ""),  # the end of each queue's name, before .fifo
            "region": env("SQS_REGION", "us-east-1"),
            "endpoint": env("SQS_ENDPOINT", ""),  # of a server that is not Amazon's
            "retry_after": 90,  # seconds; extended while a job runs, up to SQS's twelve hours
            "block_for": 1,  # seconds of long polling; a signal is heard after that
        },
        "redis": {
            "driver": "redis",
            "connection": env("REDIS_QUEUE_CONNECTION", env("QUEUE_REDIS_CONNECTION", "default")),
            "queue": env("REDIS_QUEUE", "default"),
            "retry_after": env("REDIS_QUEUE_RETRY_AFTER", 90),  # seconds until a dead worker's job runs again
            "block_for": None,  # seconds that one wait for a job lasts at most
            "migration_batch_size": -1,  # jobs that are due and join their queue in one call; -1 is all
        },
    },
    "failed": {
        "driver": env("QUEUE_FAILED_DRIVER", "database-uuids"),  # or database (ids are numbers), file, null (nowhere)
        "database": env("QUEUE_FAILED_DATABASE"),  # a connection of config/database.py; None is the default one
        "table": env("QUEUE_FAILED_TABLE", "failed_jobs"),  # in that database
        "path": env("QUEUE_FAILED_PATH", "storage/framework/cache/failed-jobs.json"),  # of the driver file
        "limit": env("QUEUE_FAILED_LIMIT", 100),  # jobs that the file keeps; then the oldest is dropped, and logged
    },
}
