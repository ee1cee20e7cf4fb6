"""A receiver of OTLP over HTTP that decodes what it gets with OpenTelemetry's own protobuf."""

from __future__ import annotations

import ssl
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.certificates import Pair
from tests.support.http_thread import HttpThread


class OtlpReceiver(HttpThread):
    """Listens on 127.0.0.1; `pair` makes it https, `client_ca` asks clients for a certificate."""

    def __init__(self, pair: Pair | None = None, *, client_ca: Path | None = None) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        handler = type("Handler", (_Handler,), {"receiver": self})
        super().__init__(handler)
        if pair is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pair.certificate, pair.key)
            if client_ca is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = self.url.replace("http:", "https:")

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what a request brings."""
        for group in request.resource_spans:
            self.resources.append(attributes(group.resource))
            for scope in group.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Span]:
        """The spans of that name, in the order in which they began."""
        found = [one for one in self.spans if one.name == name]
        return sorted(found, key=lambda one: one.start_time_unix_nano)


class _Handler(BaseHTTPRequestHandler):
    receiver: OtlpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.receiver.headers.append(dict(self.headers))
        self.receiver.take(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Tests look at what came, not at a log."""


def attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a span, link or resource as plain values."""
    return {one.key: _plain(one.value) for one in owner.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_plain(one) for one in found.values] if kind == "array_value" else found
