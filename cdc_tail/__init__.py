"""Tail Cassandra's commit log into PostgreSQL. Holds the version only; imports nothing."""

__version__ = "0.1.0"
