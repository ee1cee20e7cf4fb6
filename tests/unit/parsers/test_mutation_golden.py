"""The compiled decoder says of the mutations in golden segments what the reference says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from cdc_tail.errors import UnknownTable
from parsers.segment import SegmentReader, iter_entries
from parsers.system_tables import LOCAL_TABLE, SKIPPED_TABLE_IDS
from tests.reference.catalog import Catalog
from tests.reference.errors import UnknownTable as UnknownToReference
from tests.reference.mutation import read_mutation
from tests.reference.versions import LOG_VERSIONS
from tests.support.decoded import CompiledDecoder, of_reference, of_views
from tests.support.golden import GoldenCase, golden_cases

# Other containers hold the same mutations as the plain one; test_segment_golden.py opens them.
CASES = [one for one in golden_cases() if not one.name.startswith("container_")]
WHOLE = golden_cases("container_plain")


def mutations(case: GoldenCase, folder: Path) -> Iterator[tuple[bytes, int]]:
    """Every mutation of a case with its log version."""
    for log in case.unpack(folder):
        with SegmentReader(log) as reader:
            reader.set_completed()
            for _, raw in iter_entries(reader):
                yield raw, reader.version


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_concerns_the_cases_own_tables(case: GoldenCase, tmp_path: Path) -> None:
    """Their rows, and their definitions; most of a log is of Cassandra's own tables."""
    facts = case.facts
    marks = [facts["keyspace"].encode()]
    marks += [UUID(table_id).bytes for table_id in facts["table_ids"].values()]
    catalog, compiled = Catalog(), CompiledDecoder()
    compared = 0
    for raw, log_version in mutations(case, tmp_path):
        if not any(mark in raw for mark in marks):
            continue
        try:
            views = compiled.views(raw, log_version)
        except UnknownTable:
            # Cassandra's own: a view that is being built, a row of its batch log.
            continue
        if any(view.table == LOCAL_TABLE for view in views):
            continue  # not defined in the log, so that the reference does not know it
        mutation = read_mutation(raw, LOG_VERSIONS[log_version], catalog)
        assert of_views(views) == of_reference(mutation, LOG_VERSIONS[log_version], catalog)
        compiled.learn(views)
        catalog.learn(mutation)
        compared += any(view.table.keyspace == facts["keyspace"] for view in views)
    assert compared


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_every_mutation(case: GoldenCase, tmp_path: Path) -> None:
    catalog, compiled = Catalog(), CompiledDecoder()
    compared = 0
    for raw, log_version in mutations(case, tmp_path):
        try:
            mutation = read_mutation(raw, LOG_VERSIONS[log_version], catalog)
        except UnknownToReference:
            continue  # the node has not logged yet what its own tables look like
        catalog.learn(mutation)
        try:
            views = compiled.views(raw, log_version)
        except UnknownTable:
            assert all(update.table_id in SKIPPED_TABLE_IDS for update in mutation.updates)
            continue
        assert of_views(views) == of_reference(mutation, LOG_VERSIONS[log_version], catalog)
        compiled.learn(views)
        compared += 1
    assert compared
