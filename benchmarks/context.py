"""What all benchmarks share: how thorough to be, a folder, a PostgreSQL, a Cassandra node."""

from __future__ import annotations

import itertools
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer

# What a server for such a load is given; durability stays as PostgreSQL has it by default.
POSTGRES_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@dataclass
class Context:
    """Handed to every benchmark; a context manager that stops and removes what was started.

    `quick` means smaller sizes: the way is the same, the figures are rougher.
    """

    quick: bool
    console: Console
    _stack: ExitStack = field(default_factory=ExitStack)
    _server: PostgresServer | None = None
    _node: CassandraNode | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def size(self, full: int, quick: int) -> int:
        """How many, by how thorough this run is."""
        return quick if self.quick else full

    def folder(self) -> Path:
        """A new empty folder that PostgreSQL's user may enter too."""
        made = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cdc-bench-")))
        made.chmod(0o755)
        return made

    @property
    def postgres(self) -> PostgresServer:
        """A server with fsync and synchronous_commit on, shared by the whole run."""
        if self._server is None:
            self._server = self._stack.enter_context(PostgresServer(settings=POSTGRES_SETTINGS))
        return self._server

    def database(self) -> str:
        """DSN of a new empty database; it stays until the run ends."""
        return self.postgres.create_database(f"bench_{next(self._numbers)}")

    @property
    def shared_node(self) -> CassandraNode:
        """A running Cassandra 5.0 with the default sync period of 10 s, shared by the whole run."""
        if self._node is None:
            self._node = self.node()
        return self._node

    def node(self, **options: object) -> CassandraNode:
        """The same with these options, the caller's own."""
        settings: dict[str, object] = {"commitlog_segment_size_mib": 32, "heap_mib": 1024}
        node = CassandraNode("5.0", options=NodeOptions(**(settings | options)))  # type: ignore[arg-type]
        return self._stack.enter_context(node)

    def tell(self, text: str) -> None:
        """A line about how far the run is."""
        self.console.print(f"  {text}", style="dim", highlight=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
