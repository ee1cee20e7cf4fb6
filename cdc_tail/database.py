"""The way into PostgreSQL for everybody: address, TLS, credentials; it executes nothing.

Credentials come from the settings, or from a source that may replace them at any time.
"""

from __future__ import annotations

import ssl
from typing import Any, Protocol

import psycopg
import psycopg.conninfo

from cdc_tail import tls
from cdc_tail.errors import SinkUnavailable, first_line
from cdc_tail.settings import Settings
from cdc_tail.vault import postgres_credentials

Connection = psycopg.Connection[Any]

_REFUSED = "authentication failed"
_PASSWORD_HINT = "check the role and its password (postgres.user, postgres.password, or Vault's)"


class Credentials(Protocol):
    """Where role and password come from while the process runs."""

    @property
    def generation(self) -> int:
        """Moves on when connections should be made anew, with what `current` then gives."""
        ...

    def current(self) -> tuple[str, str]:
        """Role and password that are valid now. Raises SecretsError."""
        ...

    def refused(self) -> None:
        """PostgreSQL did not take what `current` gave."""
        ...


class Database:
    """Opens connections to the database of the mirror, as the settings say."""

    def __init__(self, settings: Settings, credentials: Credentials | None = None) -> None:
        """Without `credentials`, those of the settings are taken: Vault's, if they name a path."""
        self._settings = settings
        self._credentials = credentials or postgres_credentials(settings)
        self._adopted = 0

    @property
    def generation(self) -> int:
        """Which credentials a connection that is opened now gets."""
        return self._adopted + (self._credentials.generation if self._credentials else 0)

    def adopt(self, settings: Settings) -> None:
        """Connections that are opened from now on are those of these settings."""
        if settings.postgres != self._settings.postgres:
            self._settings = settings
            self._adopted += 1

    def connect(self) -> Connection:
        """A new connection. Raises SinkUnavailable with the cure, as far as that can be told."""
        try:
            return psycopg.connect(self.conninfo())
        except psycopg.Error as error:
            if self._credentials is not None and _REFUSED in str(error):
                self._credentials.refused()
            raise SinkUnavailable(
                f"PostgreSQL does not answer: {first_line(error)}", hint=_cure(error)
            ) from error

    def conninfo(self) -> str:
        """The connection string in libpq's own form, with the password that is valid now."""
        postgres = self._settings.postgres
        base = postgres.dsn.get_secret_value() if postgres.dsn else ""
        extra: dict[str, Any] = {"application_name": f"cdc-tail {self._settings.node}"[:63]}
        if not base:
            extra |= {
                "host": postgres.host,
                "port": postgres.port,
                "dbname": postgres.database,
                "user": postgres.user,
                "password": postgres.password and postgres.password.get_secret_value(),
            }
        given = psycopg.conninfo.conninfo_to_dict(base)
        extra["connect_timeout"] = postgres.connect_timeout_seconds
        hosts = str(given.get("hostaddr") or given.get("host") or extra.get("host", "")).split(",")
        extra |= self._tls(given, hosts)
        extra = {name: value for name, value in extra.items() if name not in given}
        if self._credentials is not None:
            extra["user"], extra["password"] = self._credentials.current()
        return psycopg.conninfo.make_conninfo(base, **extra)

    def _tls(self, given: dict[str, Any], hosts: list[str]) -> dict[str, Any]:
        """Our settings in libpq's words; nothing for this machine, where libpq may choose."""
        settings = self._settings.postgres.tls
        mode = settings.mode_for(*hosts)
        if mode == "disable" and settings.mode == "auto":
            return {}
        # Fails with the setting's name where a file is of no use; libpq knows only its own words.
        tls.client_context(settings, "postgres.", *hosts)
        found: dict[str, Any] = {"sslmode": mode}
        if settings.ca is not None:
            found["sslrootcert"] = str(settings.ca)
        elif str(given.get("sslmode", mode)).startswith("verify"):
            found["sslrootcert"] = _system_ca()
        if settings.certificate is not None:
            found["sslcert"] = str(settings.certificate)
            found["sslkey"] = str(settings.key or settings.certificate)
        if settings.key_password is not None:
            found["sslpassword"] = settings.key_password.get_secret_value()
        return found


def _system_ca() -> str:
    """The system's CA certificates: the wheel's own OpenSSL may look for them elsewhere."""
    return ssl.get_default_verify_paths().cafile or "system"


def _cure(error: psycopg.Error) -> str | None:
    """The hint for a refused connection, None for the usual one: the server is away."""
    said = str(error)
    cure = tls.meaning(said, "postgres.")
    if cure is None and (_REFUSED in said or "no password" in said):
        cure = _PASSWORD_HINT
    if cure is None and "no encryption" in said:
        cure = "the server takes encrypted connections only: set postgres.tls.mode to verify-full"
    return cure
