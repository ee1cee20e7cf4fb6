"""Random mutations: the reference decoder says what Cassandra's own CommitLogReader says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.differential import LOG_VERSIONS, differences, random_segment

MUTATIONS = 1000
CASES = [(series, version) for series, versions in LOG_VERSIONS.items() for version in versions]


@pytest.mark.parametrize(("series", "log_version"), CASES)
def test_reference_equals_commit_log_reader(series: str, log_version: int, tmp_path: Path) -> None:
    seed = 100 + log_version
    path = random_segment(tmp_path, log_version, seed, MUTATIONS)
    assert list(differences(series, path, seed)) == []
