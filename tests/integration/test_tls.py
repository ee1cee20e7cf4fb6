"""TLS on real connections: who is not whom we meant is refused, with the setting to change."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from cdc_tail import cluster, config
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError, SinkUnavailable, SourceUnavailable
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.metrics import Metrics
from cdc_tail.server import StatusServer
from cdc_tail.settings import HttpSettings
from cdc_tail.settings_base import ServerTlsSettings
from cdc_tail.status import Status, StatusBoard
from cdc_tail.status_source import ask_process
from tests.conftest import NodeFactory
from tests.support.certificates import Authority, Pair
from tests.support.tls_front import TlsFront

KEYSTORE_PASSWORD = "keystore-password"
REFUSALS = {
    # What is wrong with the server's certificate, and what the hint must name.
    "expired": "has expired: renew it",
    "other host": "for another name",
    "unknown ca": "tls.ca to the one (PEM) that did",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


def bad_pair(kind: str, authority: Authority, folder: Path) -> Pair:
    if kind == "expired":
        return authority.issue("127.0.0.1", name="expired", is_expired=True)
    if kind == "other host":
        return authority.issue("elsewhere.example", name="other")
    return Authority(folder, "unknown-ca").issue("127.0.0.1", name="unknown")


def database(server: PostgresServer, port: int | None = None, **tls: object) -> Database:
    options: dict[str, Any] = {f"postgres.tls.{name}": value for name, value in tls.items()}
    dsn = server.dsn.replace(f":{server.port}/", f":{port or server.port}/")
    return Database(config.load(environ={}, options=options | {"postgres.dsn": dsn}))


def behind_tls(server: PostgresServer, pair: Pair, client_ca: Path | None = None) -> TlsFront:
    return TlsFront((server.address, server.port), pair, client_ca=client_ca)


def test_postgres_is_verified_by_the_ca_that_we_name(
    postgres: PostgresServer, authority: Authority
) -> None:
    with (
        behind_tls(postgres, authority.issue("127.0.0.1")) as front,
        database(postgres, front.port, mode="verify-full", ca=authority.ca).connect() as connection,
    ):
        assert connection.pgconn.ssl_in_use


@pytest.mark.parametrize("kind", REFUSALS)
def test_postgres_with_a_bad_certificate_is_refused(
    postgres: PostgresServer, authority: Authority, folder: Path, kind: str
) -> None:
    with behind_tls(postgres, bad_pair(kind, authority, folder)) as front:
        with pytest.raises(SinkUnavailable) as raised:
            database(postgres, front.port, mode="verify-full", ca=authority.ca).connect()
        # Of a certificate that does not hold libpq does not tell why.
        said = REFUSALS[kind] if kind == "other host" else "or it has expired: set postgres.tls.ca"
        assert said in raised.value.hint
        # Encrypted but to anybody is a choice that has to be made by name.
        with database(postgres, front.port, mode="require").connect() as connection:
            assert connection.pgconn.ssl_in_use


def test_a_postgres_without_tls_is_refused_where_it_is_wanted(postgres: PostgresServer) -> None:
    with pytest.raises(SinkUnavailable) as raised:
        database(postgres, mode="verify-full").connect()
    assert "postgres.tls.mode" in raised.value.hint


def test_postgres_elsewhere_is_verified_unless_told_otherwise() -> None:
    for given, expected in (
        ({"postgres.host": "db.example"}, "verify-full"),
        ({"postgres.dsn": "postgresql://u@db.example/m"}, "verify-full"),
        ({"postgres.dsn": "postgresql://u@127.0.0.1,db.example/m"}, "verify-full"),
        ({"postgres.dsn": "postgresql://u@db.example/m?sslmode=require"}, "require"),
        ({"postgres.host": "db.example", "postgres.tls.mode": "disable"}, "disable"),
        ({"postgres.host": "127.0.0.1"}, None),
        ({"postgres.host": "/run/postgresql"}, None),
    ):
        text = Database(config.load(environ={}, options=given)).conninfo()
        found = dict(part.split("=", 1) for part in text.split() if "=" in part)
        assert found.get("sslmode") == expected, given


def test_postgres_asks_us_for_our_certificate(
    postgres: PostgresServer, authority: Authority
) -> None:
    own = authority.issue("sidecar", name="client")
    known: dict[str, object] = {"mode": "verify-full", "ca": authority.ca}
    with behind_tls(postgres, authority.issue("127.0.0.1"), authority.ca) as front:
        # Whether the alert or the end of the connection is read first is a matter of time.
        with pytest.raises(SinkUnavailable, match=r"SSL error|server closed the connection"):
            database(postgres, front.port, **known).connect()
        known |= {"certificate": own.certificate, "key": own.key}
        with database(postgres, front.port, **known).connect() as connection:
            assert connection.pgconn.ssl_in_use


def test_a_file_of_no_use_is_named_by_its_setting(folder: Path, authority: Authority) -> None:
    broken = folder / "broken.pem"
    broken.write_text("no certificate")
    other = authority.issue("x", name="x")
    for tls, key in (
        ({"ca": "/no/such.pem"}, "postgres.tls.ca"),
        ({"ca": broken}, "postgres.tls.ca"),
        ({"certificate": broken}, "postgres.tls"),
        ({"certificate": other.certificate, "key": authority.issue("y").key}, "postgres.tls"),
        ({"key": other.key}, "postgres.tls.certificate"),
    ):
        options: dict[str, Any] = {f"postgres.tls.{name}": value for name, value in tls.items()}
        options |= {"postgres.host": "db.example"}
        with pytest.raises(ConfigError) as raised:
            Database(config.load(environ={}, options=options)).conninfo()
        assert key in f"{raised.value} {raised.value.hint}"


def test_cassandra_is_verified(
    new_cassandra_node: NodeFactory, authority: Authority, folder: Path
) -> None:
    store = authority.issue("127.0.0.1", name="node").pkcs12(KEYSTORE_PASSWORD)
    encryption = {
        "enabled": True,
        "keystore": str(store),
        "keystore_password": KEYSTORE_PASSWORD,
        "require_client_auth": True,
        "truststore": str(authority.truststore(KEYSTORE_PASSWORD)),
        "truststore_password": KEYSTORE_PASSWORD,
        "store_type": "PKCS12",
    }
    node = new_cassandra_node("5.0", yaml={"client_encryption_options": encryption})

    def connect(host: str = node.address, **tls: Any) -> str:
        options: dict[str, Any] = {f"cassandra.tls.{name}": value for name, value in tls.items()}
        options |= {"cassandra.host": host, "cassandra.port": node.native_port}
        settings = config.load(environ={}, options=options)
        with cluster.connect(settings.cassandra) as session:
            return str(session.execute("SELECT release_version FROM system.local").one()[0])

    own = authority.issue("sidecar", name="sidecar")
    known: dict[str, Any] = {
        "mode": "verify-full",
        "ca": authority.ca,
        "certificate": own.certificate,
        "key": own.key,
    }
    assert connect(**known).startswith("5.0")
    for without, hint in (
        ({"mode": "auto"}, ""),  # in the clear, as it is this machine
        ({"ca": None}, REFUSALS["unknown ca"]),
        ({"host": "localhost"}, REFUSALS["other host"]),
        ({"certificate": None, "key": None}, ""),
    ):
        with pytest.raises(SourceUnavailable) as raised:
            connect(**(known | without))
        assert hint in raised.value.hint, without
    # The node reads its keystore anew, as when an operator renews it.
    expired = bad_pair("expired", authority, folder).pkcs12(KEYSTORE_PASSWORD)
    store.write_bytes(expired.read_bytes())
    node.invoke("org.apache.cassandra.net:type=MessagingService", "reloadSslCertificates")
    with pytest.raises(SourceUnavailable) as raised:
        connect(**known)
    assert REFUSALS["expired"] in raised.value.hint


def serve(**tls: Any) -> StatusServer:
    board = StatusBoard(Status(node="n1"))
    settings = HttpSettings(port=0, tls=ServerTlsSettings(**tls))
    return StatusServer(board, Metrics(), settings)


def test_http_shows_its_certificate(authority: Authority) -> None:
    pair = authority.issue("127.0.0.1", name="http")
    known = ServerTlsSettings(ca=authority.ca)
    with serve(certificate=pair.certificate, key=pair.key) as server:
        assert server.url.startswith("https://")
        found = ask_process(server.url, known)
        assert found is not None
        assert found["node"] == "n1"
        with pytest.raises(SourceUnavailable, match="not to be trusted") as raised:
            ask_process(server.url)
        assert "http.tls.ca" in raised.value.hint


@pytest.mark.parametrize("kind", REFUSALS)
def test_http_with_a_bad_certificate_is_refused(
    authority: Authority, folder: Path, kind: str
) -> None:
    pair = bad_pair(kind, authority, folder)
    with serve(certificate=pair.certificate, key=pair.key) as server:
        with pytest.raises(SourceUnavailable) as raised:
            ask_process(server.url, ServerTlsSettings(ca=authority.ca))
        assert REFUSALS[kind] in raised.value.hint


def test_http_asks_clients_for_their_certificate(authority: Authority, folder: Path) -> None:
    pair = authority.issue("127.0.0.1", name="http")
    stranger = Authority(folder, "stranger").issue("stranger", name="stranger")
    with serve(certificate=pair.certificate, key=pair.key, client_ca=authority.ca) as server:
        own = ServerTlsSettings(ca=authority.ca, certificate=pair.certificate, key=pair.key)
        assert ask_process(server.url, own) is not None
        for wrong in (
            ServerTlsSettings(ca=authority.ca),
            ServerTlsSettings(ca=authority.ca, certificate=stranger.certificate, key=stranger.key),
        ):
            # Refused in the handshake, or cut off right after it: TLS 1.3 leaves both open.
            with contextlib.suppress(SourceUnavailable):
                assert ask_process(server.url, wrong) is None


def test_http_without_its_key_is_an_error_of_the_start(authority: Authority) -> None:
    with pytest.raises(ConfigError, match=r"http\.tls"):
        serve(certificate=authority.ca)
    with pytest.raises(ConfigError, match=r"http\.tls\.certificate"):
        serve(client_ca=authority.ca)
