"""Jobs that are held back: in shared delay topics for minutes, in a table for days."""
