"""Dead letters and parked mutations through the command line and HTTP, on a real PostgreSQL."""

from __future__ import annotations

import json
import logging
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from typer.testing import CliRunner, Result

from benchmarks import workload
from cdc_tail import config
from cdc_tail.cli.app import app
from cdc_tail.errors import ConfigError
from cdc_tail.http_letters import letter_routes
from cdc_tail.metrics import Metrics
from cdc_tail.replay import Replay
from cdc_tail.server import StatusServer
from cdc_tail.settings import Settings
from cdc_tail.status import Status, StatusBoard

TOKEN = "a token of some length"
WRITETIME_US = 2_000_000_000_000_000
REFUSED = 5
Answer = tuple[int, Any]


def insert(key: int) -> bytes:
    return workload.mutation("insert", key, WRITETIME_US, random.Random(key))


def execute(dsn: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def replay(dsn: str, folder: Path, mutations: list[bytes], schema: Path | None) -> None:
    workload.write_segments(folder, iter(mutations))
    settings = config.load(environ={}, options={"postgres.dsn": dsn, "node": "n1"})
    Replay(settings, [folder], schema).run()


@pytest.fixture
def refused(database: str, tmp_path: Path) -> str:
    """A database with letters about the rows of customers 1, 2, …, one each."""
    schema = tmp_path / "schema.cql"
    # Without its id the table is found by its mutations, and that is put down in the history.
    schema.write_text(workload.SCHEMA_CQL.replace(f"ID = {workload.TABLE_ID} AND", ""))
    replay(database, tmp_path / "first", [insert(0)], schema)
    execute(database, "ALTER TABLE bench.orders ADD CONSTRAINT mine CHECK (line = 3) NOT VALID")
    replay(database, tmp_path / "then", [insert(4 * n) for n in range(1, REFUSED + 1)], schema)
    return database


def dlq(dsn: str, *arguments: str) -> Result:
    handlers = logging.getLogger().handlers[:]
    try:
        return CliRunner(env={"COLUMNS": "200"}).invoke(
            app, ["dlq", *arguments, "--node", "n1", "--postgres", dsn]
        )
    finally:  # the runner's streams are closed now
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()


def listed(dsn: str, *arguments: str) -> dict[str, Any]:
    result = dlq(dsn, "list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def serve(refused: str) -> Iterator[Any]:
    """`serve(token)`: a function that asks the server, as (status, body)."""
    running: list[StatusServer] = []

    def start(token: str | None, host: str = "127.0.0.1") -> Any:
        options = {"http.port": 0, "http.token": token, "http.host": host}
        settings = Settings(node="n1").model_copy(
            update={
                "http": config.load(environ={}, options=options).http,
                "postgres": config.load(environ={}, options={"postgres.dsn": refused}).postgres,
            }
        )
        board = StatusBoard(Status(node="n1"))
        server = StatusServer(board, Metrics(), settings.http, letter_routes(settings))
        running.append(server.__enter__())

        def ask(path: str, *, post: bool = False, given: str | None = token) -> Answer:
            headers = {} if given is None else {"Authorization": f"Bearer {given}"}
            request = urllib.request.Request(
                server.url + path, method="POST" if post else "GET", headers=headers
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())

        return ask

    yield start
    for one in running:
        one.__exit__(None, None, None)


def test_listed_in_pages_and_by_what_they_are(refused: str) -> None:
    found = listed(refused)
    records = found["records"]
    assert found["next"] is None and len(records) == REFUSED
    assert [one["key"] for one in records] == [
        {"customer": f"customer-{n:08d}"} for n in range(1, REFUSED + 1)
    ]
    first = records[0]
    assert (first["keyspace"], first["table"]) == ("bench", "orders")
    assert first["table_id"] == str(workload.TABLE_ID) and first["sqlstate"] == "23514"
    assert first["size_bytes"] == len(insert(4)) and first["log_version"] == 7
    page, names = listed(refused, "--limit", "2"), []
    while True:
        names += [one["id"] for one in page["records"]]
        if page["next"] is None:
            break
        page = listed(refused, "--limit", "2", "--after", page["next"])
    assert names == [one["id"] for one in records]
    assert len(listed(refused, "--table", "bench.orders")["records"]) == REFUSED
    assert listed(refused, "--table", "other.orders")["records"] == []
    assert len(listed(refused, "--reason", "CHECK constraint")["records"]) == REFUSED
    assert listed(refused, "--reason", "%")["records"] == []
    assert listed(refused, "--state", "retried")["records"] == []
    people = dlq(refused, "list")
    assert people.exit_code == 0 and "customer-00000003" in people.stdout


def test_shown_with_the_mutation_decoded(refused: str) -> None:
    name = listed(refused)["records"][0]["id"]
    shown = json.loads(dlq(refused, "show", name, "--json").stdout)
    assert shown["raw"] == insert(4).hex()
    (update,) = shown["mutation"]["updates"]
    assert update["key"] == {"customer": "customer-00000001"} and len(update["rows"]) == 1
    assert "customer-00000001" in dlq(refused, "show", name).stdout
    for wrong in ("999999", "none", "1:2", "1:2:3", "9" * 40):
        result = dlq(refused, "show", wrong)
        assert isinstance(result.exception, ConfigError), wrong


def test_retried_once_the_row_is_acceptable(refused: str) -> None:
    names = [one["id"] for one in listed(refused)["records"]]
    early = dlq(refused, "retry", names[0], "999999", "--json")
    assert early.exit_code == 23
    kept, unknown = json.loads(early.stdout)["results"]
    assert kept["result"] == "refused" and "mine" in kept["reason"]
    assert unknown == {"id": "999999", "result": "not_found"}
    assert listed(refused)["records"][0]["seen"] == 2

    assert dlq(refused, "discard", names[1]).exit_code == 0
    execute(refused, "ALTER TABLE bench.orders DROP CONSTRAINT mine")
    done = dlq(refused, "retry", "--all", "--json")
    assert done.exit_code == 0, done.output
    assert {one["result"] for one in json.loads(done.stdout)["results"]} == {"applied"}
    assert listed(refused)["records"] == []
    assert len(listed(refused, "--state", "retried")["records"]) == REFUSED - 1
    assert [one["id"] for one in listed(refused, "--state", "discarded")["records"]] == [names[1]]
    rows = execute(refused, "SELECT customer FROM bench.orders ORDER BY customer")
    assert rows == [(f"customer-{n:08d}",) for n in (0, 1, 3, 4, 5)]
    assert execute(refused, "SELECT open FROM cdc_tail.dead_letter_count") == [(0,)]
    again = dlq(refused, "retry", names[0], names[1], "--json")
    assert {one["result"] for one in json.loads(again.stdout)["results"]} == {"not_open"}
    assert dlq(refused, "retry", "--all").exit_code == 0


def test_parked_mutations_are_listed_and_applied(database: str, tmp_path: Path) -> None:
    replay(database, tmp_path / "segments", [insert(0), insert(4)], None)
    first, second = listed(database, "--state", "parked")["records"]
    assert first["table_id"] == str(workload.TABLE_ID) and first["table"] is None
    assert first["id"] == first["position"]
    early = dlq(database, "retry", first["id"], "--json")
    (said,) = json.loads(early.stdout)["results"]
    assert said["result"] == "not_decodable" and "unknown table" in said["reason"]
    assert "error" in json.loads(dlq(database, "show", first["id"], "--json").stdout)["mutation"]
    assert dlq(database, "discard", second["id"]).exit_code == 0
    (left,) = listed(database, "--state", "discarded")["records"]
    assert left["position"] == second["position"] and left["size_bytes"] == len(insert(4))

    schema = tmp_path / "schema.cql"
    schema.write_text(workload.SCHEMA_CQL)
    settings = config.load(environ={}, options={"postgres.dsn": database, "node": "n1"})
    empty = tmp_path / "empty"
    workload.write_segments(empty, iter([insert(8)]), first_id=1_800_000_000_000)
    assert Replay(settings, [empty], schema).run().parked == 0
    assert listed(database, "--state", "parked")["records"] == []
    rows = execute(database, "SELECT customer FROM bench.orders ORDER BY customer")
    assert rows == [("customer-00000000",), ("customer-00000002",)]


def test_what_nobody_should_type(refused: str) -> None:
    for wrong in (
        ("list", "--state", "lost"),
        ("list", "--after", "x" * 10_000_000),
        ("list", "--after", "1:2"),
        ("retry",),
        ("retry", "1", "--all"),
        ("discard", "1", "--table", "bench.orders"),
    ):
        result = dlq(refused, *wrong)
        assert isinstance(result.exception, ConfigError), wrong[:2]
        assert len(str(result.exception)) < 300


def test_keys_of_any_bytes_and_size_are_listed(refused: str) -> None:
    execute(
        refused,
        "UPDATE cdc_tail.dead_letter SET key = '\\xff1b5b324a00', reason = e'\\x1b[2J\\u202e'"
        " || repeat('x', 10000000) WHERE id = (SELECT min(id) FROM cdc_tail.dead_letter)",
    )
    execute(
        refused,
        "UPDATE cdc_tail.dead_letter SET key = convert_to(repeat('k', 10000000), 'UTF8'),"
        " raw = convert_to(repeat('r', 10000000), 'UTF8')"
        " WHERE id = (SELECT max(id) FROM cdc_tail.dead_letter)",
    )
    first, *_, last = listed(refused)["records"]
    assert first["key"]["customer"]["bytes"] == "0xff1b5b324a00" and len(first["reason"]) < 600
    assert last["key"].startswith("0x6b6b") and len(last["key"]) < 600
    people = dlq(refused, "list").stdout
    assert "\x1b[2J" not in people and "\u202e" not in people
    assert len(people) < 10_000
    assert len(dlq(refused, "show", last["id"]).stdout) < 10_000
    assert len(json.loads(dlq(refused, "show", last["id"], "--json").stdout)["raw"]) == 20_000_000


def test_over_http_with_a_token(serve: Any, refused: str) -> None:
    ask = serve(TOKEN)
    assert ask("/dlq/records", given=None)[0] == 401
    assert ask("/dlq/records", given="wrong")[0] == 401
    assert ask("/dlq/records", given="wröng")[0] == 401
    code, page = ask("/dlq/records?limit=2&table=bench.orders")
    assert code == 200 and len(page["records"]) == 2
    assert page["next"] == page["records"][1]["id"]
    assert page == listed(refused, "--limit", "2")
    one, other = (record["id"] for record in page["records"])
    code, shown = ask(f"/dlq/records/{one}")
    assert code == 200 and shown["raw"] == insert(4).hex()
    assert ask(f"/dlq/records/{one}/retry", post=True, given=None)[0] == 401
    code, refusal = ask(f"/dlq/records/{one}/retry", post=True)
    assert code == 409 and refusal["result"] == "refused"
    assert ask(f"/dlq/records/{other}/discard", post=True) == (
        200, {"id": other, "result": "discarded"},
    )  # fmt: skip
    assert ask(f"/dlq/records/{other}/discard", post=True)[0] == 409
    execute(refused, "ALTER TABLE bench.orders DROP CONSTRAINT mine")
    assert ask(f"/dlq/records/{one}/retry", post=True) == (200, {"id": one, "result": "applied"})
    assert ask("/dlq/records/999999/retry", post=True)[0] == 404
    assert ask("/dlq/records/999999")[0] == 404
    for wrong in ("limit=x", "limit=-1", "limit=99999", "state=lost", "after=x", "table=%00"):
        code, said = ask(f"/dlq/records?{wrong}")
        assert code == 400 and said["hint"], wrong


def test_over_http_without_a_token_nothing_changes(serve: Any, refused: str) -> None:
    ask = serve(None)
    code, page = ask("/dlq/records")
    assert code == 200 and len(page["records"]) == REFUSED
    name = page["records"][0]["id"]
    for what in ("retry", "discard"):
        code, said = ask(f"/dlq/records/{name}/{what}", post=True)
        assert code == 403 and "CDC_TAIL_HTTP_TOKEN" in said["hint"]
    assert len(listed(refused)["records"]) == REFUSED


def test_without_a_token_other_machines_are_shown_no_records(serve: Any, refused: str) -> None:
    ask = serve(None, host="0.0.0.0")
    for path in ("/dlq/records", f"/dlq/records/{listed(refused)['records'][0]['id']}"):
        code, said = ask(path)
        assert code == 403 and "records" not in said and "CDC_TAIL_HTTP_TOKEN" in said["hint"]
    assert ask("/status")[0] == 200
