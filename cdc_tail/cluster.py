"""The node beside us, asked over CQL: its schema and its limits. The log needs no connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cassandra import DriverException, InvalidRequest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import ValueSequence

from cdc_tail import tls
from cdc_tail.errors import SourceUnavailable
from cdc_tail.settings import CassandraSettings

# What the node calls cdc_total_space, in MiB, by version: 4.0, then 4.1 and later.
_SPACE_SETTINGS = ("cdc_total_space_in_mb", "cdc_total_space")

_CONNECT_SECONDS = 10


@contextmanager
def connect(settings: CassandraSettings) -> Iterator[Session]:
    """A session of the driver with this node alone, closed at the end of the `with` block.

    Raises SourceUnavailable where the node does not answer.
    """
    login = None
    if settings.user is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        login = PlainTextAuthProvider(settings.user, password)
    context = tls.client_context(settings.tls, "cassandra.", settings.host)
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([settings.host]))
    cluster = Cluster(
        [settings.host],
        port=settings.port,
        auth_provider=login,
        ssl_context=context,
        ssl_options={"server_hostname": settings.host} if context else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        # A node that is busy or has just started takes its time for the first handshake.
        connect_timeout=_CONNECT_SECONDS,
        control_connection_timeout=_CONNECT_SECONDS,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )
    try:
        yield cluster.connect()
    except (DriverException, NoHostAvailable, OSError) as error:
        raise SourceUnavailable(
            f"Cassandra does not answer at {settings.host}:{settings.port}: {_said(error)}",
            hint=_cure(error),
        ) from error
    finally:
        cluster.shutdown()


def _said(error: Exception) -> str:
    """What the node, or the way to it, said; the driver's own words hold a dict of it."""
    if not isinstance(error, NoHostAvailable):
        return str(error)
    reasons = [getattr(one, "strerror", None) or str(one) for one in error.errors.values()]
    return "; ".join(reasons) or "no address to connect to"


def _cure(error: Exception) -> str | None:
    """The hint for a refused connection, None for the usual one: the node is away."""
    said = _said(error)
    cure = tls.meaning(said, "cassandra.")
    if cure is None and isinstance(error, NoHostAvailable) and "Bad credentials" in said:
        cure = "check cassandra.user and cassandra.password"
    return cure


def cdc_total_space_bytes(session: Session) -> int | None:
    """The node's cdc_total_space, None where it does not tell (before 4.0)."""
    query = "SELECT name, value FROM system_views.settings WHERE name IN %s"
    try:
        rows = list(session.execute(query, (ValueSequence(_SPACE_SETTINGS),)))
    except InvalidRequest:  # 3.11 has no such table
        return None
    for row in rows:
        if (size := _mebibytes(row.value)) is not None:
            return size << 20
    return None


def _mebibytes(text: str | None) -> int | None:
    """From "4096" or "4096MiB"; None for anything else and for 0, a share of the disk."""
    digits = (text or "").removesuffix("MiB")
    return int(digits) or None if digits.isdecimal() else None
