"""`cdc-tail schema`: what is mirrored, of a recorded log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.golden import golden_cases
from tests.support.sidecar import FOREIGN_VARIABLES


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_VARIABLES)}
    return subprocess.run(
        [sys.executable, "-m", "cdc_tail", *arguments],
        env=kept,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_mirrors_their_columns_and_types_are_shown(database: str, tmp_path: Path) -> None:
    assert command("schema", "--postgres", database).returncode == 2  # nothing there yet
    case = golden_cases("statics", "5.0")[0]
    segments = [str(one) for one in case.unpack(tmp_path)]
    schema = str(case.schema_cql)
    replayed = command("replay", *segments, "--schema", schema, "--postgres", database)
    assert replayed.returncode == 0, replayed.stderr
    done = command("schema", "--postgres", database, "--json")
    assert done.returncode == 0, done.stderr
    mirrors = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["kind"] for one in mirrors} == {"rows", "static"}
    for one in mirrors:
        assert one["columns"][0]["kind"] == "partition_key"
        assert all(column["pg_type"] for column in one["columns"])
    name = mirrors[0]["table"]
    shown = command("schema", "--postgres", database, "--table", name)
    assert name in shown.stdout
    wrong = command("schema", "--postgres", database, "--table", "no.such")
    assert wrong.returncode == 2
    assert name in wrong.stderr


def test_the_history_tells_what_each_definition_changed(database: str, tmp_path: Path) -> None:
    case = golden_cases("columns_added_and_dropped", "5.0")[0]
    segments = [str(one) for one in case.unpack(tmp_path)]
    replayed = command("replay", *segments, "--postgres", database)
    assert replayed.returncode == 0, replayed.stderr
    done = command("schema", "--postgres", database, "--history", "--json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0]["changes"][0].startswith("first seen: ")
    assert told[0]["written_at"] < told[-1]["written_at"]
    assert any("is new" in change for one in told for change in one["changes"]), told
    shown = command("schema", "--postgres", database, "--history", "--table", told[0]["table"])
    assert "is new" in shown.stdout
