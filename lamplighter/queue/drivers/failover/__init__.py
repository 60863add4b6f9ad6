"""A connection that pushes onto the first of several that answers."""
