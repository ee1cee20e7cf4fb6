"""One workload in every container that a segment can be: plain, compressed, encrypted, written with
direct I/O.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from tests.support.golden import GOLDEN
from tests.tools.registry import ALL_SERIES, Run, recorded

Session = Any


def _encryption(keystore: str, store_type: str, key_alias: str) -> dict[str, Any]:
    parameters = {
        "keystore": str(GOLDEN / "keystores" / keystore),
        "keystore_password": "cassandra",
        "store_type": store_type,
        "key_password": "cassandra",
    }
    return {
        "enabled": True,
        "chunk_length_kb": 16,  # sections take several chunks, and entries straddle them
        "cipher": "AES/CBC/PKCS5Padding",
        "key_alias": key_alias,
        "key_provider": [
            {
                "class_name": "org.apache.cassandra.security.JKSKeyProvider",
                "parameters": [parameters],
            }
        ],
    }


def _container(variant: str, *series: str, **options: Any) -> Callable[[Run], Run]:
    return recorded(series=series, variant=variant, commitlog_sync_period_ms=200, **options)


# A container is the same in every series, so 5.0 has all and the others some of each kind.
@_container("plain", "5.0")
@_container("lz4", *ALL_SERIES, commitlog_compression="LZ4Compressor")
@_container("snappy", "3.11", "5.0", commitlog_compression="SnappyCompressor")
@_container("deflate", "4.0", "5.0", commitlog_compression="DeflateCompressor")
@_container("zstd", "4.1", "5.0", commitlog_compression="ZstdCompressor")
@_container("noop", "5.0", commitlog_compression="NoopCompressor")
@_container(
    "lz4_v8", "5.0", commitlog_compression="LZ4Compressor", storage_compatibility_mode="NONE"
)
@_container(
    "jceks",
    "3.11",
    "4.0",
    "5.0",
    "6.0",
    encryption=_encryption("commitlog.jceks", "JCEKS", "cdc-tail:1"),
)
@_container(
    "pkcs12",
    "5.0",
    encryption=_encryption("commitlog.p12", "PKCS12", "cdc-tail:2"),
    # Encryption wins over compression, whose setting is then ignored.
    commitlog_compression="ZstdCompressor",
)
@_container("direct_io", "5.0", "6.0", yaml={"commitlog_disk_access_mode": "direct"})
def container(session: Session) -> None:
    """Small and large mutations over several sections, one of them longer than a chunk or a
    page.
    """
    choose = random.Random(7)
    session.execute(
        "CREATE TABLE t (k int, c text, v text, b blob, m map<text, int>, PRIMARY KEY (k, c)) "
        "WITH cdc = true"
    )
    insert = session.prepare("INSERT INTO t (k, c, v, b) VALUES (?, ?, ?, ?)")
    for section in range(4):
        for number in range(60):
            key = choose.randrange(20)
            session.execute(
                insert, (key, f"c{number}", "word " * choose.randrange(9), choose.randbytes(12))
            )
            if number % 7 == 0:
                session.execute(
                    "UPDATE t SET m[%s] = %s WHERE k = %s AND c = 'm'", (f"n{number}", number, key)
                )
            if number % 11 == 0:
                session.execute("DELETE FROM t WHERE k = %s AND c > 'c4'", (key,))
        session.execute(insert, (100 + section, "large", "0123456789" * 9000, b""))
        time.sleep(0.5)  # more than a sync period: the next writes go into another section


@recorded(series=("3.11", "5.0"))
def many_segments(session: Session) -> None:
    """A table written over several segments, its definition in the first of them alone."""
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    for number in range(30):
        session.execute(insert, (number, f"{number:04}" * 25_000))  # a tenth of a segment each
    session.execute("DELETE FROM t WHERE k = 3")
