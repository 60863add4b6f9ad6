"""The options of a connection, and what the clients are told because of them."""
