"""Jobs in Laravel's table `jobs`, on SQLite, PostgreSQL, MariaDB and MySQL; PHP workers may share it."""
