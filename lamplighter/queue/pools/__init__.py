"""Where jobs run when more than one of them is in hand: threads, one event loop, or processes."""
