"""Jobs in Redis or Valkey under Laravel's own keys, so that PHP's workers and ours share a queue."""
