"""A connection that runs each job in a process of its own, on the host where it is dispatched."""
