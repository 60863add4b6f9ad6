"""The broker that comes with the framework: librdkafka's mock cluster, in a process of its own."""
