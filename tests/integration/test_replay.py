"""Recorded segments of real nodes replayed into a real PostgreSQL give what their SELECT gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from benchmarks import workload
from cdc_tail import config
from cdc_tail.errors import UnknownTable
from cdc_tail.replay import Outcome, Replay
from tests.support.golden import GoldenCase, golden_cases
from tests.support.mirrored import differing

# Cases with a known gap, which test_golden_replay.py states exactly.
WITH_GAPS = ("cdc_switched", "compact_storage")
KEYSTORES = Path(__file__).parent.parent / "golden" / "keystores"


def newest_cases() -> list[GoldenCase]:
    """Of each case the one of the newest series."""
    newest = {case.name: case for case in golden_cases()}
    return [case for name, case in newest.items() if name not in WITH_GAPS]


def assert_equal(dsn: str, case: GoldenCase) -> None:
    with psycopg.connect(dsn) as conn:
        assert differing(conn, case.expected["tables"]) == {}


def replay(case: GoldenCase, folder: Path, dsn: str, *, schema: bool = True) -> Outcome:
    if not folder.exists():
        case.unpack(folder)
    options: dict[str, object] = {"postgres.dsn": dsn, "node": "replay"}
    encryption = case.facts["options"].get("encryption")
    if encryption:
        provider = encryption["key_provider"][0]["parameters"][0]
        options["encryption.keystore"] = KEYSTORES / Path(provider["keystore"]).name
        options["encryption.keystore_password"] = provider["keystore_password"]
    settings = config.load(environ={}, options=options)
    return Replay(settings, [folder], case.schema_cql if schema else None).run()


@pytest.mark.parametrize("case", newest_cases(), ids=str)
def test_the_mirror_equals_what_select_gave(
    case: GoldenCase, database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "segments"
    outcome = replay(case, folder, database)
    assert outcome.shortfall() is None
    assert_equal(database, case)
    again = replay(case, folder, database)
    assert again.shortfall() is None
    assert (again.applied.inserted, again.applied.deleted) == (0, 0)
    assert_equal(database, case)


@pytest.mark.parametrize("case", golden_cases("user_types"), ids=str)
def test_a_log_read_again_does_not_go_back_to_the_schema_of_its_beginning(
    case: GoldenCase, database: str, tmp_path: Path
) -> None:
    assert replay(case, tmp_path / "segments", database, schema=False).shortfall() is None
    again = replay(case, tmp_path / "segments", database, schema=False)
    assert again.shortfall() is None
    assert again.applied.unchanged > 0
    assert (again.applied.inserted, again.applied.updated, again.applied.deleted) == (0, 0, 0)


@pytest.mark.parametrize("case", golden_cases("scalars"), ids=str)
def test_the_schema_in_the_log_is_enough(case: GoldenCase, database: str, tmp_path: Path) -> None:
    outcome = replay(case, tmp_path / "segments", database, schema=False)
    assert outcome.shortfall() is None
    assert_equal(database, case)


def test_segments_in_any_order_give_the_same_mirror(database: str, tmp_path: Path) -> None:
    (case,) = golden_cases("many_segments", "5.0")
    logs = case.unpack(tmp_path / "all")
    assert len(logs) > 2
    for log in reversed(logs):
        settings = config.load(environ={}, options={"postgres.dsn": database})
        Replay(settings, [log], case.schema_cql).run()
    assert_equal(database, case)


def test_mutations_of_an_unknown_table_wait_and_are_applied_once_it_is_known(
    database: str, tmp_path: Path
) -> None:
    (case,) = golden_cases("many_segments", "5.0")
    first, *later = case.unpack(tmp_path / "all")
    settings = config.load(environ={}, options={"postgres.dsn": database, "node": "replay"})
    outcome = Replay(settings, later).run()
    assert outcome.parked > 0
    shortfall = outcome.shortfall()
    assert isinstance(shortfall, UnknownTable)
    assert case.facts["table_ids"]["t"] in str(shortfall)
    outcome = Replay(settings, [first]).run()
    assert outcome.shortfall() is None
    assert_equal(database, case)


def test_a_schema_file_without_ids_is_matched_by_what_the_mutations_say(
    database: str, tmp_path: Path
) -> None:
    workload.write_segments(tmp_path / "segments", workload.mutations(500))
    schema = tmp_path / "schema.cql"
    schema.write_text(
        workload.SCHEMA_CQL.replace(f"ID = {workload.TABLE_ID} AND", "")
        + "CREATE TABLE bench.other (customer text PRIMARY KEY, price double) WITH cdc = true;"
    )
    settings = config.load(environ={}, options={"postgres.dsn": database, "node": "replay"})
    outcome = Replay(settings, [tmp_path / "segments"], schema).run()
    assert outcome.shortfall() is None
    assert outcome.mutations == 500
    with psycopg.connect(database) as conn:
        rows = conn.execute("SELECT count(*), count(note) FROM bench.orders").fetchone()
    assert rows == (outcome.applied.inserted - outcome.applied.deleted,) * 2


def test_a_damaged_segment_stops_after_what_stands_before_the_damage(
    database: str, tmp_path: Path
) -> None:
    (case,) = golden_cases("scalars", "5.0")
    log, *_ = case.unpack(tmp_path / "segments")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    done = command("replay", str(log), "--schema", str(case.schema_cql), "--postgres", database)
    assert done.returncode == 11
    assert log.name in done.stderr
    with psycopg.connect(database) as conn:
        count = conn.execute("SELECT count(*) FROM scalars.everything").fetchone()
    assert count is not None
    assert count[0] > 0
    skipped = command("replay", str(log), "--postgres", database, "--skip-corrupt", "--json")
    assert skipped.returncode != 0
    assert json.loads(skipped.stdout)["skipped_bytes"] > 0
    with psycopg.connect(database) as conn:
        letters = conn.execute("SELECT reason, raw FROM cdc_tail.dead_letter").fetchall()
    assert letters


def test_the_command_tells_what_it_did(database: str, tmp_path: Path) -> None:
    (case,) = golden_cases("scalars", "5.0")
    case.unpack(tmp_path / "segments")
    schema = ("--schema", str(case.schema_cql))
    done = command("replay", str(tmp_path), *schema, "--postgres", database, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    outcome = json.loads(done.stdout)
    assert outcome["mutations"] > 1000
    assert outcome["applied"]["inserted"] > 0
    assert sorted(outcome["tables"]) == sorted(
        f"{case.facts['keyspace']}.{table}" for table in case.expected["tables"]
    )


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    foreign = ("CDC_TAIL_", "POSTGRES_", "CASSANDRA_", "VAULT_")
    return subprocess.run(
        [sys.executable, "-m", "cdc_tail", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
