"""The HTTP API as an OpenAPI 3.1 document, made from what the routes answer; serves nothing."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import datetime
from typing import Any, Final

import cdc_tail
from cdc_tail.letters import Result
from cdc_tail.status import ErrorStatus, Status
from sinks.postgres.letters import STATES

Json = dict[str, Any]

_JSON_TYPES: Final[dict[type, Json]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    ErrorStatus: {"$ref": "#/components/schemas/Error"},
    type(None): {"type": "null"},
}
_TOLD: Final = {"$ref": "#/components/schemas/Refusal"}


def document() -> Json:
    """The document; paths in the order of the routes."""
    record = "/dlq/records/{id}"
    return {
        "openapi": "3.1.0",
        "info": {"title": "cdc-tail", "version": cdc_tail.__version__},
        "paths": {
            "/": {"get": _operation("The page for people.", _text("text/html"))},
            "/metrics": {"get": _operation("Metrics for Prometheus.", _text("text/plain"))},
            "/healthz": _probe("Whether the process should be left running."),
            "/readyz": _probe("Whether the mirror may be relied on as fresh."),
            "/status": {"get": _operation("What the process is doing.", _json("Status"))},
            "/openapi.json": {
                "get": _operation("This document.", _content({"type": "object"})),
            },
            "/dlq/records": {
                "get": _guarded("Records of what was set aside, oldest first.", "Page", 400)
                | {"parameters": _filters()}
            },
            record: {"get": _of_record("A record with its mutation.", "Record", 404)},
            f"{record}/retry": {"post": _settle("Apply its mutation once more.")},
            f"{record}/discard": {"post": _settle("Give it up.")},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> Json:
    names = ("id", "state", "node", "position", "keyspace", "table", "table_id", "reason", "detail")
    record = {name: {"type": ["string", "null"]} for name in names}
    result = {"enum": list(typing.get_args(Result))}
    return {
        "Status": _of_dataclass(Status),
        "Error": _of_dataclass(ErrorStatus),
        "Refusal": _object({"error": {"type": "string"}, "hint": {"type": "string"}}),
        "Record": _object(record),
        "Page": _object(
            {
                "records": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
                "next": {"type": ["string", "null"]},
            }
        ),
        "Settled": _object({"id": {"type": "string"}, "result": result}),
    }


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _of_dataclass(kind: type) -> Json:
    hints = typing.get_type_hints(kind)
    return _object({field.name: _of_type(hints[field.name]) for field in dataclasses.fields(kind)})


def _of_type(hint: Any) -> Json:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return {"anyOf": [_of_type(one) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _of_type(arguments[0])}
    return _JSON_TYPES[hint]


def _operation(summary: str, answer: Json, **others: Json) -> Json:
    responses = {"200": {"description": "Here it is."} | answer}
    return {"summary": summary, "responses": responses | others}


def _content(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}


def _json(name: str) -> Json:
    return _content({"$ref": f"#/components/schemas/{name}"})


def _text(kind: str) -> Json:
    return {"content": {kind: {"schema": {"type": "string"}}}}


def _probe(summary: str) -> Json:
    plain = _text("text/plain")
    operation = _operation(summary, plain)
    operation["responses"]["503"] = {"description": "No; the text says why."} | plain
    return {"get": operation}


def _guarded(summary: str, name: str, *refusals: int) -> Json:
    operation = _operation(summary, _json(name))
    for code in (*refusals, 401, 403, 503):
        operation["responses"][str(code)] = {"description": "Why not."} | _content(_TOLD)
    return operation | {"security": [{}, {"token": []}]}


def _of_record(summary: str, name: str, *refusals: int) -> Json:
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return _guarded(summary, name, *refusals) | {"parameters": [parameter]}


def _settle(summary: str) -> Json:
    operation = _of_record(summary, "Settled")
    operation["security"] = [{"token": []}]
    for code in ("404", "409"):
        operation["responses"][code] = {"description": "It stays as it was."} | _json("Settled")
    return operation


def _filters() -> list[Json]:
    schemas: dict[str, Json] = {
        "state": {"enum": list(STATES)},
        "table": {"type": "string"},
        "reason": {"type": "string"},
        "after": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 999},
    }
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]
