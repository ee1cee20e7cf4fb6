"""HTTP for people, probes and Prometheus, in a thread of its own.

GET /  /metrics  /healthz  /readyz  /status  /openapi.json; more routes come from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence
from importlib import resources
from types import TracebackType
from typing import Any, Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cdc_tail import openapi
from cdc_tail.errors import ConfigError
from cdc_tail.metrics import Metrics
from cdc_tail.settings import HttpSettings
from cdc_tail.status import StatusBoard, not_healthy_because, not_ready_because
from cdc_tail.tls import server_context

TICK_SECONDS: Final = 1.0
# The page is whole in itself, asks its own server alone, and is nobody's frame: it has buttons.
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';"
    " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def application(
    board: StatusBoard,
    metrics: Metrics,
    settings: HttpSettings,
    more_routes: Sequence[Route] = (),
) -> Starlette:
    """The routes over one process's status and metrics, and `more_routes`."""
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")

    def probe(reason: str | None) -> Response:
        return PlainTextResponse(reason or "ok", status_code=503 if reason else 200)

    async def healthz(_: Request) -> Response:
        return probe(not_healthy_because(board))

    async def readyz(_: Request) -> Response:
        return probe(not_ready_because(board, max_age_seconds=settings.ready_max_age_seconds))

    async def status(_: Request) -> Response:
        return JSONResponse(board.snapshot().as_dict(), headers={"Cache-Control": "no-store"})

    async def exposition(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def described(_: Request) -> Response:
        return JSONResponse(openapi.document())

    async def front(_: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY})

    return Starlette(
        routes=[
            Route("/", front),
            Route("/metrics", exposition),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/status", status),
            Route("/openapi.json", described),
            *more_routes,
        ]
    )


class _Server(uvicorn.Server):
    """Wakes up once a second, for its answers' date: ten times cost 0.2 % of a core."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until `stop`."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK_SECONDS)

    def stop(self) -> None:
        """End soon; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ending.set)


class StatusServer:
    """Serves `application` from a thread until the `with` block ends."""

    def __init__(
        self,
        board: StatusBoard,
        metrics: Metrics,
        settings: HttpSettings,
        more_routes: Sequence[Route] = (),
    ) -> None:
        self._socket = _listen(settings)
        config = uvicorn.Config(
            application(board, metrics, settings, more_routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            **_tls(settings),
        )
        self._scheme = "https" if config.is_ssl else "http"
        self._server = _Server(config)
        # uvicorn installs signal handlers only in the main thread; ours stay in place.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="http", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens, with the port that was really taken."""
        host, port = self._socket.getsockname()[:2]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> StatusServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join(timeout=5)
        self._socket.close()


def _tls(settings: HttpSettings) -> dict[str, Any]:
    """The certificate in uvicorn's words; ConfigError where it can't be used."""
    own = settings.tls
    if server_context(own) is None:
        return {}
    return {
        "ssl_certfile": own.certificate,
        "ssl_keyfile": own.key,
        "ssl_keyfile_password": own.key_password and own.key_password.get_secret_value(),
        "ssl_ca_certs": own.client_ca and str(own.client_ca),
        "ssl_cert_reqs": ssl.CERT_REQUIRED if own.client_ca else ssl.CERT_NONE,
    }


def _listen(settings: HttpSettings) -> socket.socket:
    """Bind before the thread starts, so that a taken port is an error of the start."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"can't listen at {settings.host}:{settings.port}: {error.strerror}",
            hint="set http.port to a free port (0 takes any), or http.enabled to false",
        ) from error
    return listener
