"""Single-row writes to a real node at an even rate, and what they took to be acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

KEYSPACE = "bench_live"
MOST_IN_FLIGHT = 512
_PAYLOAD = "a value of some forty characters, as many are"


class Traffic:
    """Writes rows numbered from 1 into `bench_live.row`, one partition each."""

    def __init__(self, session: Any) -> None:
        """`session` is a cassandra-driver session; the table is made where it is missing."""
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication ="
            " {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.row"
            " (n int PRIMARY KEY, at bigint, text_1 text, text_2 text, flag boolean)"
            " WITH cdc = true"
        )
        self._session = session
        self._insert = session.prepare(
            f"INSERT INTO {KEYSPACE}.row (n, at, text_1, text_2, flag) VALUES (?, ?, ?, ?, ?)"
        )
        self._n = 0

    def run(
        self, per_second: float, seconds: float, on_acknowledged: Callable[[int], None]
    ) -> tuple[list[float], float]:
        """Seconds that each write took until it was acknowledged, and the rate that was reached.

        `on_acknowledged` is called with the row's number on the driver's thread. A rate that the
        node or this process can't follow is slowed to what they can.
        """
        waits: list[float] = []
        failures: list[Exception] = []
        room = threading.Semaphore(MOST_IN_FLIGHT)
        began = time.monotonic()
        count = int(per_second * seconds)
        for number in range(count):
            delay = began + number / per_second - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            room.acquire()
            self._n += 1
            self._send(self._n, waits, failures, room, on_acknowledged)
        for _ in range(MOST_IN_FLIGHT):
            room.acquire()
        if failures:
            raise failures[0]
        return waits, count / (time.monotonic() - began)

    def _send(
        self,
        n: int,
        waits: list[float],
        failures: list[Exception],
        room: threading.Semaphore,
        on_acknowledged: Callable[[int], None],
    ) -> None:
        sent = time.monotonic()

        def acknowledged(_: Any) -> None:
            waits.append(time.monotonic() - sent)
            on_acknowledged(n)
            room.release()

        def failed(error: Exception) -> None:
            failures.append(error)
            room.release()

        values = (n, n, _PAYLOAD, _PAYLOAD, True)
        self._session.execute_async(self._insert, values).add_callbacks(acknowledged, failed)
