"""A keyspace of one test on a shared node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from cdc_tail.local.cassandra import CassandraNode


@dataclass(frozen=True)
class Keyspace:
    """The keyspace `name` on `node`, with a driver session that uses it."""

    node: CassandraNode
    name: str
    session: Any

    @classmethod
    def create(cls, node: CassandraNode, name: str) -> Self:
        session = node.session()
        session.execute(
            f"CREATE KEYSPACE {name} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.set_keyspace(name)
        return cls(node, name, session)

    def drop(self) -> None:
        """Drop it, unless the test took the node down, and close the session."""
        if self.node.pid is not None and not self.session.is_shutdown:
            self.session.execute(f"DROP KEYSPACE IF EXISTS {self.name}")
        self.session.cluster.shutdown()
