"""Credentials and keys from Vault (or OpenBao): logs in, reads, renews; connects to no database.

What a path gives tells what it is: a lease (database/creds/ROLE) is renewed and, near its end,
replaced; a ttl (database/static-creds/ROLE) says when the password changes; anything else (KV) is
read again from time to time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from cdc_tail.errors import ConfigError, SecretsError, first_line
from cdc_tail.log import error_fields
from cdc_tail.settings import Settings, VaultSettings

if TYPE_CHECKING:
    import hvac

log = structlog.get_logger()

# Of a lease's or token's life: then it is renewed, which leaves time to fail and try again.
_RENEW_AT: Final = 0.6
# A renewal that gives less than this share of the first duration is at the end of max_ttl.
_NEAR_END: Final = 0.5
_RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)
_LEAST_PAUSE_SECONDS: Final = 0.2
_USER_NAMES: Final = ("username", "user")


class Vault:
    """A logged-in client; every failure is a SecretsError that names the path and the setting."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._client: hvac.Client | None = None
        self._login_ends_at = float("inf")

    def read(self, path: str) -> dict[str, Any]:
        """The whole answer to reading `path`."""
        found = self._ask(f"reading {path}", lambda client: client.read(path))
        if found is None:
            raise SecretsError(
                f"Vault has nothing at {path}",
                hint="check the path (KV version 2 needs data/: secret/data/NAME) and the engine's"
                " role",
            )
        return dict(found)

    def whoami(self) -> dict[str, Any]:
        """What Vault says of the token that we have: policies, display_name, ttl (0: for ever)."""
        answer = self._ask("looking up our token", lambda client: client.auth.token.lookup_self())
        return dict(answer["data"])

    def renew(self, lease_id: str) -> int:
        """Renew a lease; returns how many seconds it has now."""
        answer = self._ask("renewing a lease", lambda client: client.sys.renew_lease(lease_id))
        return int(answer["lease_duration"])

    def revoke(self, lease_id: str) -> None:
        """Give a lease back."""
        self._ask("revoking a lease", lambda client: client.sys.revoke_lease(lease_id))

    def _ask(self, what: str, act: Callable[[Any], Any]) -> Any:
        import hvac.exceptions
        import requests

        try:
            if self._client is None or time.monotonic() >= self._login_ends_at:
                self._login()
            try:
                return act(self._client)
            except hvac.exceptions.Forbidden:
                if self._settings.auth == "token":
                    raise
                self._login()  # the token may have been revoked or have ended before its time
                return act(self._client)
        except hvac.exceptions.Forbidden as error:
            raise SecretsError(
                f"Vault refuses {what}: {first_line(error)}",
                hint="the policy of our token or role must allow it; docs/security.md has one",
            ) from error
        except hvac.exceptions.InvalidPath as error:
            raise SecretsError(f"Vault has nothing there: {what}", hint="check the path") from error
        except (hvac.exceptions.VaultError, requests.RequestException, OSError) as error:
            raise SecretsError(
                f"Vault at {self._settings.address} failed at {what}: {first_line(error)}",
                hint="check vault.address, that Vault is unsealed, and vault.ca (PEM) for https",
                retryable=True,
            ) from error

    def _login(self) -> None:
        settings = self._settings
        import hvac

        cert = (str(settings.certificate), str(settings.key)) if settings.certificate else None
        client = hvac.Client(
            url=settings.address,
            namespace=settings.namespace,
            verify=str(settings.ca) if settings.ca else True,
            cert=cert,
            timeout=settings.timeout_seconds,
        )
        answer: dict[str, Any] = {}
        match settings.auth:
            case "token":
                client.token = _secret(settings.token, settings.token_file, "token")
            case "approle":
                answer = client.auth.approle.login(
                    role_id=settings.role_id,
                    secret_id=_secret(settings.secret_id, settings.secret_id_file, "secret_id"),
                    mount_point=settings.auth_mount or "approle",
                )
            case "kubernetes":
                answer = client.auth.kubernetes.login(
                    role=settings.kubernetes_role,
                    jwt=_read(settings.kubernetes_token_file, "vault.kubernetes_token_file"),
                    mount_point=settings.auth_mount or "kubernetes",
                )
        duration_seconds = answer.get("auth", {}).get("lease_duration", 0)
        # Logging in anew needs no renewable token and no second way.
        self._login_ends_at = (
            time.monotonic() + duration_seconds * _RENEW_AT if duration_seconds else float("inf")
        )
        self._client = client


class VaultCredentials:
    """PostgreSQL's role and password from one path, kept valid by a thread in a `with` block."""

    def __init__(self, vault: Vault, path: str, refresh_seconds: float) -> None:
        self._vault = vault
        self._path = path
        self._refresh_seconds = refresh_seconds
        self._lock = threading.Lock()
        self._known: tuple[str, str] | None = None
        self._generation = 0
        self._lease_id = ""
        self._lease_seconds = 0
        self._due_at = 0.0
        self._wake = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._keep_valid, name="vault", daemon=True)

    @property
    def generation(self) -> int:
        """How often the credentials changed: connections of an earlier one are to be replaced."""
        return self._generation

    def current(self) -> tuple[str, str]:
        """Role and password. Raises SecretsError where there are none yet and Vault gives none."""
        with self._lock:
            if self._known is None:
                self._read()
            assert self._known is not None
            return self._known

    def refused(self) -> None:
        """PostgreSQL refused what `current` gave: ask Vault for what is valid now."""
        self._due_at = 0.0
        self._lease_id = ""
        self._wake.set()
        if not self._thread.is_alive():
            self._known = None

    def _read(self) -> None:
        answer = self._vault.read(self._path)
        data = answer["data"]
        data = data["data"] if isinstance(data.get("data"), dict) else data
        user = next((data[name] for name in _USER_NAMES if name in data), None)
        password = data.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise SecretsError(
                f"the secret at {self._path} is no role of PostgreSQL",
                hint="it must have the fields username and password",
            )
        self._lease_id = answer.get("lease_id") or ""
        self._lease_seconds = int(answer.get("lease_duration") or 0)
        if self._lease_id:
            pause = self._lease_seconds * _RENEW_AT
        else:
            # A static role's password changes at the end of its ttl: we look right after it.
            pause = float(data["ttl"]) + 1 if "ttl" in data else self._refresh_seconds
        self._due_at = time.monotonic() + pause
        if (user, password) != self._known:
            if self._known is not None:
                self._generation += 1
                log.info("credentials of PostgreSQL changed", role=user)
            self._known = (user, password)

    def _keep_valid(self) -> None:
        tries = 0
        while not self._is_closing:
            left = max(self._due_at - time.monotonic(), _LEAST_PAUSE_SECONDS)
            if self._wake.wait(left if tries == 0 else _RETRY_SECONDS[tries - 1]):
                self._wake.clear()
            if self._is_closing or self._known is None or time.monotonic() < self._due_at:
                continue
            try:
                with self._lock:
                    self._renew_or_read()
                tries = 0
            except SecretsError as error:
                # What we have stays good until its end; PostgreSQL says when that has come.
                log.warning("credentials can't be renewed", **error_fields(error))
                tries = min(tries + 1, len(_RETRY_SECONDS))

    def _renew_or_read(self) -> None:
        if self._lease_id:
            try:
                left_seconds = self._vault.renew(self._lease_id)
            except SecretsError as error:
                if error.retryable and "lease" not in error.message:
                    raise
                left_seconds = 0  # not renewable, or gone
            if left_seconds >= self._lease_seconds * _NEAR_END:
                self._due_at = time.monotonic() + left_seconds * _RENEW_AT
                return
        self._read()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        if self._lease_id:
            try:
                self._vault.revoke(self._lease_id)
            except SecretsError as failure:
                log.warning("the lease of the role was not given back", **error_fields(failure))


def postgres_credentials(settings: Settings) -> VaultCredentials | None:
    """What the settings want of Vault for PostgreSQL; None where they want nothing."""
    vault = settings.vault
    if vault.postgres_path is None:
        return None
    return VaultCredentials(open_vault(vault), vault.postgres_path, vault.refresh_seconds)


def encryption_keys(settings: VaultSettings) -> dict[str, str]:
    """Alias to key, as text, of the secret at `vault.keys_path`; empty where none is named."""
    if settings.keys_path is None:
        return {}
    data = open_vault(settings).read(settings.keys_path)["data"]
    data = data["data"] if isinstance(data.get("data"), dict) else data
    return {str(alias): str(key) for alias, key in data.items()}


def open_vault(settings: VaultSettings) -> Vault:
    """A client, not logged in yet. Raises ConfigError where settings are missing."""
    if settings.address is None:
        raise ConfigError("vault.address is not set", hint="set vault.address (VAULT_ADDR)")
    needed = {
        "token": ("token", "token_file"),
        "approle": ("role_id",),
        "kubernetes": ("kubernetes_role",),
    }[settings.auth]
    if all(getattr(settings, name) is None for name in needed):
        names = " or ".join(f"vault.{name}" for name in needed)
        raise ConfigError(f"vault.auth is {settings.auth}, but {names} is not set")
    try:
        import hvac  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "the client of Vault is not installed", hint="pip install 'cdc-tail[vault]'"
        ) from error
    return Vault(settings)


def _secret(value: Any, file: Path | None, name: str) -> str:
    if value is not None:
        return str(value.get_secret_value())
    if file is None:
        raise SecretsError(f"vault.{name} is not set", hint=f"set it, or vault.{name}_file")
    return _read(file, f"vault.{name}_file")


def _read(file: Path, key: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretsError(f"{key}: {file} can't be read: {error.strerror}") from error
