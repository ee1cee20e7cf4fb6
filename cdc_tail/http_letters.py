"""/dlq/records over HTTP: listed and shown, retried and discarded with a token.

GET  /dlq/records?state=&table=&reason=&after=&limit=   GET /dlq/records/ID
POST /dlq/records/ID/retry                              POST /dlq/records/ID/discard
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cdc_tail.database import Database
from cdc_tail.errors import CdcTailError, ConfigError, SinkUnavailable
from cdc_tail.letters import Letters, Settled, wanted_from
from cdc_tail.settings import Settings
from cdc_tail.settings_base import is_this_machine

_STATUS_OF = {"applied": 200, "discarded": 200, "not_found": 404}
_CONFLICT = 409  # it is not open, or was refused again


def letter_routes(settings: Settings, database: Database | None = None) -> list[Route]:
    """The routes over the records of the node that `settings` names."""
    secret = settings.http.token
    token = None if secret is None else secret.get_secret_value()
    letters = Letters(settings, database=database)
    # Records hold data: without a token they are for this machine, and for known certificates.
    host = settings.http.host
    is_narrow = bool(host and is_this_machine(host)) or settings.http.tls.client_ca is not None

    def denied(request: Request) -> Response | None:
        """Why not, or None: with a token configured nothing is shown without it."""
        if token is None:
            if is_narrow and request.method in ("GET", "HEAD"):
                return None
            return _told(
                403,
                "this needs a token, and none is configured",
                "set http.token (CDC_TAIL_HTTP_TOKEN), or use `cdc-tail dlq` beside the process",
            )
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(
            given.strip().encode(), token.encode()
        ):
            return None
        answer = _told(401, "the token is missing or wrong", "send Authorization: Bearer TOKEN")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    async def answered(request: Request, act: Callable[[], tuple[int, Any]]) -> Response:
        refusal = denied(request)
        if refusal is not None:
            return refusal
        try:
            code, body = await run_in_threadpool(act)
        except ConfigError as error:
            return _told(404 if "id" in request.path_params else 400, error.message, error.hint)
        except SinkUnavailable as error:
            return _told(503, error.message, error.hint)
        except CdcTailError as error:
            return _told(500, error.message, error.hint)
        return _json(code, body)

    async def records(request: Request) -> Response:
        query = request.query_params

        def act() -> tuple[int, Any]:
            wanted = wanted_from(query.get("state"), query.get("table"), query.get("reason"))
            return 200, letters.page(
                wanted, after=query.get("after"), limit=_limit(query.get("limit"))
            )

        return await answered(request, act)

    async def record(request: Request) -> Response:
        return await answered(request, lambda: (200, letters.show(request.path_params["id"])))

    def settle(act: Callable[[list[str]], list[Settled]]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            def settled() -> tuple[int, Any]:
                (one,) = act([request.path_params["id"]])
                return _STATUS_OF.get(one.result, _CONFLICT), one.as_dict()

            return await answered(request, settled)

        return handle

    return [
        Route("/dlq/records", records, methods=["GET"]),
        Route("/dlq/records/{id}", record, methods=["GET"]),
        Route("/dlq/records/{id}/retry", settle(letters.retry), methods=["POST"]),
        Route("/dlq/records/{id}/discard", settle(letters.discard), methods=["POST"]),
    ]


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 4):
        raise ConfigError(f"limit is {text[:20]!r}", hint="give a number from 1 to 999")
    return min(max(int(text), 1), 999)


def _told(code: int, message: str, hint: str) -> JSONResponse:
    return _json(code, {"error": message, "hint": hint})


def _json(code: int, body: Any) -> JSONResponse:
    return _Escaped(body, status_code=code, headers={"Cache-Control": "no-store"})


class _Escaped(JSONResponse):
    """JSON in ASCII: keys may hold whatever somebody wrote into them."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, default=str).encode("ascii")
