"""The part of Vault's HTTP API that cdc-tail uses, over a real PostgreSQL.

Answers have the form that Vault 1.14 documents. Database roles are really created, expire and are
dropped, with the statements of deploy/sql. It is no Vault: it has no policies and no
storage.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from tests.support.http_thread import HttpThread

Answer = tuple[int, dict[str, Any]]
SQL = Path(__file__).parents[2] / "deploy" / "sql"


class VaultApi(HttpThread):
    """Serves on 127.0.0.1; `dsn` is the superuser's, in the database of the mirror."""

    def __init__(self, dsn: str, *, lease_seconds: int = 4, max_seconds: int = 8) -> None:
        self.dsn = dsn
        self.lease_seconds = lease_seconds
        self.max_seconds = max_seconds
        self.root_token = secrets.token_hex(12)
        self.role_id, self.secret_id = "the-role", secrets.token_hex(12)
        self.jwt = secrets.token_hex(12)
        self.kv: dict[str, dict[str, Any]] = {}
        self.static_role = self.static_password = ""
        self.issued: list[tuple[str, str]] = []
        self.is_sealed = False
        self._tokens = {self.root_token}
        self._leases: dict[str, tuple[str, float]] = {}  # id -> role, end of its longest life
        self._ends: dict[str, float] = {}  # lease id -> when it ends unless renewed
        self._lock = threading.Lock()
        super().__init__(type("Handler", (_Handler,), {"api": self}))

    def answer(self, method: str, path: str, token: str | None, body: dict[str, Any]) -> Answer:
        """What the API answers to a request below /v1/."""
        if self.is_sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if path == "auth/approle/login":
            known = body == {"role_id": self.role_id, "secret_id": self.secret_id}
            return self._login() if known else (400, {"errors": ["invalid role or secret ID"]})
        if path == "auth/kubernetes/login":
            known = body == {"role": "cdc-tail", "jwt": self.jwt}
            return self._login() if known else (403, {"errors": ["permission denied"]})
        if token not in self._tokens:
            return 403, {"errors": ["permission denied"]}
        if path == "auth/token/lookup-self":
            is_root = token == self.root_token
            policies = ["root"] if is_root else ["default", "cdc-tail"]
            return 200, _data({"policies": policies, "ttl": 0 if is_root else 3600})
        routes: dict[str, Callable[[], Answer]] = {
            "database/creds/cdc-tail": self._issue,
            "database/static-creds/cdc-tail": self._static,
            "sys/leases/renew": lambda: self._renew(body["lease_id"]),
            "sys/leases/revoke": lambda: self._revoke(body["lease_id"]),
        }
        if path in routes:
            with self._lock:
                return routes[path]()
        if path in self.kv:
            return 200, _data({"data": self.kv[path], "metadata": {"version": 1}})
        return 404, {"errors": []}

    def forget_tokens(self) -> None:
        """All tokens but the root's end, as when Vault's operator revokes them."""
        self._tokens = {self.root_token}

    def _login(self) -> Answer:
        token = secrets.token_hex(12)
        self._tokens.add(token)
        auth = {"client_token": token, "lease_duration": 3600, "renewable": True}
        return 200, {"auth": auth, "data": None}

    def _issue(self) -> Answer:
        name, password = f"v-cdc-tail-{secrets.token_hex(5)}", secrets.token_urlsafe(16)
        self._run("vault-create.sql", name, password)
        lease_id = f"database/creds/cdc-tail/{secrets.token_hex(8)}"
        self._leases[lease_id] = (name, time.monotonic() + self.max_seconds)
        self.issued.append((name, password))
        self._end_in(lease_id, self.lease_seconds)
        return 200, _data({"username": name, "password": password}) | {
            "lease_id": lease_id,
            "lease_duration": self.lease_seconds,
            "renewable": True,
        }

    def _renew(self, lease_id: str) -> Answer:
        if lease_id not in self._leases:
            return 400, {"errors": ["lease not found"]}
        left = int(min(self.lease_seconds, self._leases[lease_id][1] - time.monotonic()))
        self._end_in(lease_id, left)
        return 200, {"lease_id": lease_id, "lease_duration": left, "renewable": True}

    def _revoke(self, lease_id: str) -> Answer:
        self._drop(lease_id)
        return 204, {}

    def _end_in(self, lease_id: str, seconds: float) -> None:
        """Drop the lease's role then, unless it is renewed meanwhile."""
        ends_at = time.monotonic() + seconds

        def end() -> None:
            with self._lock:
                if self._ends.get(lease_id) == ends_at:
                    self._drop(lease_id)

        self._ends[lease_id] = ends_at
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()

    def _drop(self, lease_id: str) -> None:
        name, _ = self._leases.pop(lease_id, (None, 0.0))
        if name is None:
            return
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            # Harder than Vault's own: who still uses the role is cut off.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,)
            )
        self._run("vault-revoke.sql", name)

    def _run(self, file: str, name: str, password: str = "") -> None:
        """The statements that we ship, filled in and split as Vault does it."""
        ends = datetime.now(UTC) + timedelta(seconds=self.max_seconds)
        text = (SQL / file).read_text(encoding="utf-8")
        text = text.replace("{{name}}", name).replace("{{password}}", password)
        text = text.replace("{{expiration}}", f"{ends:%Y-%m-%d %H:%M:%S%z}")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in filter(None, map(str.strip, text.split(";"))):
                connection.execute(statement.encode())

    def _static(self) -> Answer:
        return 200, _data(
            {"username": self.static_role, "password": self.static_password, "ttl": 1}
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        with self._lock:
            for lease_id in list(self._leases):
                self._drop(lease_id)


def _data(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": "r",
        "lease_id": "",
        "lease_duration": 0,
        "renewable": False,
        "data": data,
    }


class _Handler(BaseHTTPRequestHandler):
    api: VaultApi

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        path = self.path.removeprefix("/v1/")
        code, answer = self.api.answer(self.command, path, self.headers.get("X-Vault-Token"), body)
        payload = b"" if code == 204 else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
