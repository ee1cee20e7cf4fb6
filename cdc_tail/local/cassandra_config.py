"""What a local Cassandra node is started with: its cassandra.yaml and JVM arguments per version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
)
OPENS = (
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)
LOGBACK = """<configuration>
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>{log_file}</file>
    <encoder><pattern>%-5level [%thread] %d{{ISO8601}} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""


@dataclass(frozen=True)
class NodeOptions:
    """Settings of one node; `None` leaves Cassandra's own default.

    `commitlog_compression` is a compressor's class name such as "LZ4Compressor". `encryption` is
    the whole `transparent_data_encryption_options` map. `yaml` is merged last and wins, in the
    words of the node's own version. `seeds` (`host:storage_port` of another node) and the token of
    a node that does not bootstrap are for clusters.
    """

    commitlog_segment_size_mib: int | None = None
    commitlog_sync_period_ms: int | None = None
    commitlog_compression: str | None = None
    storage_compatibility_mode: str | None = None
    encryption: Mapping[str, Any] | None = None
    cdc_total_space_mib: int | None = None
    seeds: str | None = None
    initial_token: int | None = None
    heap_mib: int = 1024
    jvm_options: tuple[str, ...] = ()
    yaml: Mapping[str, Any] = field(default_factory=dict)


def cassandra_yaml(
    series: str,
    folder: Path,
    options: NodeOptions,
    *,
    address: str,
    native_port: int,
    storage_port: int,
) -> dict[str, Any]:
    """The content of cassandra.yaml of a single CDC node whose data live below `folder`."""
    own_seed = address if series == "3.11" else f"{address}:{storage_port}"
    config: dict[str, Any] = {
        "cluster_name": "cdc-tail",
        "num_tokens": 1,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": options.seeds or own_seed}],
            }
        ],
        "listen_address": address,
        "rpc_address": address,
        "storage_port": storage_port,
        "native_transport_port": native_port,
        "start_native_transport": True,
        "data_file_directories": [str(folder / "data")],
        "commitlog_directory": str(folder / "commitlog"),
        "cdc_raw_directory": str(folder / "cdc_raw"),
        "hints_directory": str(folder / "hints"),
        "saved_caches_directory": str(folder / "saved_caches"),
        "cdc_enabled": True,
        "commitlog_sync": "periodic",
        # DROP TABLE would otherwise keep a copy of the data for ever.
        "auto_snapshot": False,
    }
    if series == "3.11":
        config["start_rpc"] = False
    if options.initial_token is not None:
        config |= {"initial_token": str(options.initial_token), "auto_bootstrap": False}
    if options.commitlog_compression:
        config["commitlog_compression"] = [{"class_name": options.commitlog_compression}]
    if options.storage_compatibility_mode:
        config["storage_compatibility_mode"] = options.storage_compatibility_mode
    if options.encryption:
        config["transparent_data_encryption_options"] = dict(options.encryption)

    # 4.1 gave sizes and periods units; before, the unit was part of the name.
    units_in_name = series in ("3.11", "4.0")
    sync_period_ms = options.commitlog_sync_period_ms or 10_000
    if units_in_name:
        config["commitlog_sync_period_in_ms"] = sync_period_ms
    else:
        config["commitlog_sync_period"] = f"{sync_period_ms}ms"
    for name, mib in (
        ("commitlog_segment_size", options.commitlog_segment_size_mib),
        ("cdc_total_space", options.cdc_total_space_mib),
    ):
        if mib is not None and units_in_name:
            config[f"{name}_in_mb"] = mib
        elif mib is not None:
            config[name] = f"{mib}MiB"
    config.update(options.yaml)
    return config


def jvm_arguments(folder: Path, jars: list[Path], options: NodeOptions) -> list[str]:
    """Everything behind `java` that starts the node whose files are below `folder`."""
    jamm = next(jar for jar in jars if jar.name.startswith("jamm-"))
    properties = {
        "cassandra.config": (folder / "cassandra.yaml").as_uri(),
        "cassandra.storagedir": folder,
        "cassandra.logdir": folder,
        "cassandra-foreground": "yes",
        "cassandra.ring_delay_ms": 100,
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        # No peer has to hear of our shutdown: saves two seconds of each stop.
        "cassandra.shutdown_announce_in_ms": 0,
        "cassandra.superuser_setup_delay_ms": -1,
        "logback.configurationFile": (folder / "logback.xml").as_uri(),
        "jdk.attach.allowAttachSelf": "true",
        "io.netty.tryReflectionSetAccessible": "true",
        "java.io.tmpdir": folder / "tmp",
    }
    return [
        f"-Xms{options.heap_mib // 2}m",
        f"-Xmx{options.heap_mib}m",
        "-Xss512k",
        # A JIT that stops at its first tier makes a test node ready sooner; see `jvm_options`.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        f"-javaagent:{jamm}",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        *(f"-D{name}={value}" for name, value in properties.items()),
        *options.jvm_options,
        "-cp",
        ":".join(map(str, jars)),
        "org.apache.cassandra.service.CassandraDaemon",
    ]
