"""Jobs with a long delay: the table they wait in, and the thread that moves each to its queue when it is due."""
