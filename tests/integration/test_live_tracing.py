"""A running sidecar that traces: its own transactions, as a receiver decodes them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select
from tests.support.otlp_receiver import OtlpReceiver, attributes
from tests.support.sidecar import Sidecar, wait_until

ROWS = 200
TABLE = "CREATE TABLE things (id int PRIMARY KEY, v text) WITH cdc = true"


def test_what_is_mirrored_is_traced_and_nobody_waits_for_the_receiver(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    insert = "INSERT INTO things (id, v) VALUES (%s, 'a secret value')"
    space.session.execute(TABLE)
    settings: dict[str, object] = {
        "watch.keep_segments": True,
        "mirror.include": f"{space.name}.*",
        "tracing.sample_ratio": 1,
    }
    with OtlpReceiver() as receiver:
        settings["tracing.url"] = receiver.url
        with Sidecar(space.node, database, tmp_path, settings=settings) as sidecar:
            sidecar.wait_live()
            for number in range(ROWS):
                space.session.execute(insert, (number,))
            assert_mirror_equals_select(space.node, space.name, database)
            wait_until(lambda: sidecar.metric("cdc_trace_spans_total", result="sent"), sidecar)
        written = [one for one in receiver.named("transaction") if attributes(one)["cdc.mutations"]]
        assert sum(attributes(one)["cdc.mutations"] for one in written) == ROWS
        assert len(receiver.named("commit")) == len(receiver.named("transaction"))
        assert not any(b"secret" in one.SerializeToString() for one in receiver.spans)
    # Now nobody takes them any more: the mirror is as right, and the end is as orderly.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sidecar.settings["tracing.url"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sidecar.start().wait_live()
        for number in range(ROWS, 2 * ROWS):
            space.session.execute(insert, (number,))
        assert_mirror_equals_select(space.node, space.name, database)
        assert sidecar.metric("cdc_trace_spans_total", result="sent") == 0
        assert sidecar.stop() == 0, sidecar
