"""The jobs that other services put on the topic `store`."""
