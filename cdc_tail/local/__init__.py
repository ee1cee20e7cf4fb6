"""A real Cassandra node and a real PostgreSQL on this machine, without Docker or root."""
