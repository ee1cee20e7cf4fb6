"""Cases of a cluster: what one replica's log holds of writes that another one led."""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded(series=("4.1", "5.0"), replicas=2)
def counters_of_replicas(session: Session) -> None:
    """Counters that both replicas have led: shards of two ids, each in a mutation of its own and,
    by read repair, in one context.
    """
    from cassandra import ConsistencyLevel
    from cassandra.query import SimpleStatement

    hosts = sorted(session.cluster.metadata.all_hosts(), key=lambda host: str(host.address))
    if len(hosts) != 2:
        raise RuntimeError(f"two replicas are wanted, found {hosts}")
    keys = range(12)

    def run(statement: str, host: Any) -> None:
        whole = SimpleStatement(statement, consistency_level=ConsistencyLevel.ALL)
        session.execute(whole, host=host)

    session.execute("CREATE TABLE t (k int PRIMARY KEY, c counter, d counter) WITH cdc = true")
    # One replica a key: the other one's log lacks its shard.
    for key in keys:
        run(f"UPDATE t SET c = c + {key}, d = d - 1 WHERE k = {key}", hosts[0])
    session.execute(
        f"ALTER KEYSPACE {session.keyspace} WITH replication ="
        " {'class': 'SimpleStrategy', 'replication_factor': 2}"
    )
    for number, host in enumerate(hosts * 2):
        for key in keys:
            run(f"UPDATE t SET c = c + {10**number} WHERE k = {key}", host)
    # What a replica lacks comes as the whole context.
    for key in keys:
        run(f"SELECT * FROM t WHERE k = {key}", hosts[0])
