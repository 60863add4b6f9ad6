"""Queue connections, and where failed jobs are kept."""

from lamplighter import env

default = env("QUEUE_CONNECTION", env("QUEUE_DRIVER", "sync"))

config = {
    "default": "null" if default is None else default,  # env() reads the word null as None
    # The connection kafka comes from config/kafka.py; what is said here under connections.kafka wins over it.
    # docs/connections.md compares the connections, and has every key of each. Each may have after_commit.
    "connections": {
        "sync": {"driver": "sync"},  # in the dispatch
        "null": {"driver": "null"},  # nowhere: jobs are dropped
        "deferred": {"driver": "deferred"},  # in this process, at the end of the request, command or job
        "background": {"driver": "background"},  # each job in a process of its own on this host
        "failover": {"driver": "failover", "connections": ["kafka", "database"]},  # on the first that answers
        "database": {
            "driver": "database",
            "connection": env("DB_QUEUE_CONNECTION"),  # of config/database.py; None is the default one
            "table": env("DB_QUEUE_TABLE", "jobs"),  # in that database; queue:table writes its migration
            "queue": env("DB_QUEUE", "default"),  # of jobs that name none
            "retry_after": env("DB_QUEUE_RETRY_AFTER", 90),  # seconds until a dead worker's job runs again
            "after_commit": False,  # True: a dispatch in an open transaction waits for its commit
            "join_transaction": False,  # a job pushes in the transaction of its session, where that has begun one
        },
        "beanstalkd": {
            "driver": "beanstalkd",
            "host": env("BEANSTALKD_QUEUE_HOST", "localhost"),  # of the server
            "port": env("BEANSTALKD_QUEUE_PORT", 11300),  # of the server
            "queue": env("BEANSTALKD_QUEUE", "default"),  # the tube of jobs that name none
            "retry_after": env("BEANSTALKD_QUEUE_RETRY_AFTER", 90),  # the TTR in seconds; renewed while a job runs
            "block_for": 0,  # an idle worker looks twice a second; more than 0: the server wakes it at once
        },
        "sqs": {
            "driver": "sqs",
            "key": env("SQS_KEY", ""),  # empty: the environment's, or the machine's role
            "secret": env("SQS_SECRET", ""),  # goes with the key
            "token": env("SQS_TOKEN", ""),  # of temporary credentials
            "prefix": env("SQS_PREFIX", ""),  # https://sqs.REGION.amazonaws.com/ACCOUNT; empty: SQS is asked
            "queue": env("SQS_QUEUE", "default"),  # of jobs that name none
            "suffix": env("SQS_SUFFIX", ""),  # the end of each queue's name, before .fifo
            "region": env("SQS_REGION", "us-east-1"),  # where the queues are
            "endpoint": env("SQS_ENDPOINT", ""),  # of a server that is not Amazon's
            "retry_after": 90,  # seconds; extended while a job runs, up to SQS's twelve hours
            "block_for": 10,  # seconds of one long poll of an idle worker; its process ends after the poll under way
        },
        "redis": {
            "driver": "redis",
            "connection": env("REDIS_QUEUE_CONNECTION", env("QUEUE_REDIS_CONNECTION", "default")),  # of database.redis
            "queue": env("REDIS_QUEUE", "default"),  # of jobs that name none
            "retry_after": env("REDIS_QUEUE_RETRY_AFTER", 90),  # seconds until a dead worker's job runs again
            "block_for": None,  # seconds that one wait for news lasts at most; a worker waits also without it
            "migration_batch_size": -1,  # jobs that are due and join their queue in one call; -1 is 10,000
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
