"""A real Cassandra cluster on loopback addresses of this machine, each node a child process."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.errors import LocalStackError
from cdc_tail.local.ports import free_ports

# Several nodes that start on one machine hold each other up.
START_TIMEOUT_SECONDS = 300
JOIN_TIMEOUT_SECONDS = 180
# How long a node that starts waits for an answer of its seed; a single node need not wait at all.
PATIENT = "-Dcassandra.ring_delay_ms=10000"
FAILURE_DETECTOR = "org.apache.cassandra.net:type=FailureDetector"
_TOKENS = 1 << 64


class CassandraCluster:
    """`nodes` nodes of one series that know each other, on 127.0.x.1, .2, …; a context manager.

    Tokens are spread evenly and nobody bootstraps, so nodes are there as soon as they answer. The
    first one is the seed.
    """

    def __init__(
        self,
        series: str = "5.0",
        *,
        nodes: int = 3,
        options: NodeOptions | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder` is where the nodes' folders are made; temporary ones otherwise."""
        net = f"127.0.{random.randrange(2, 255)}"
        addresses = [f"{net}.{number}" for number in range(1, nodes + 1)]
        # The nodes of a cluster listen on the same ports, as the driver expects.
        native_port, storage_port = free_ports(2, addresses[0])
        common = options or NodeOptions()
        self.nodes = [
            CassandraNode(
                series,
                directory=folder / f"node{number}" if folder else None,
                address=address,
                native_port=native_port,
                storage_port=storage_port,
                options=replace(
                    common,
                    seeds=f"{addresses[0]}:{storage_port}",
                    initial_token=(number * _TOKENS // nodes) - _TOKENS // 2,
                    jvm_options=(*common.jvm_options, PATIENT),
                ),
            )
            for number, address in enumerate(addresses)
        ]
        self._running = ExitStack()

    def __iter__(self) -> Iterator[CassandraNode]:
        return iter(self.nodes)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node in self.nodes:
                started.push(node)
            self.nodes[0].start(START_TIMEOUT_SECONDS)
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(lambda node: node.start(START_TIMEOUT_SECONDS), self.nodes[1:]))
            self.wait_until_joined()
            self._running = started.pop_all()
        return self

    def wait_until_joined(self, timeout_seconds: float = JOIN_TIMEOUT_SECONDS) -> None:
        """Wait until every running node holds every running one for up."""
        running = [node for node in self.nodes if node.pid is not None]
        deadline = time.monotonic() + timeout_seconds
        for node in running:
            while _seen_up(node) < len(running):
                if time.monotonic() > deadline:
                    raise LocalStackError(f"{node.address} does not see all {len(running)} nodes")
                time.sleep(0.5)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()


def _seen_up(node: CassandraNode) -> int:
    """How many nodes this one holds for up, itself among them."""
    printed = node.attribute(FAILURE_DETECTOR, "UpEndpointCount")
    return int(printed.split()[-1])
