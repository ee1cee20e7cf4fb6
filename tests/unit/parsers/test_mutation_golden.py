"""The compiled decoder says of every mutation of every golden segment what the reference says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_tail.errors import UnknownTable
from parsers.system_tables import SKIPPED_TABLE_IDS
from tests.reference.catalog import Catalog
from tests.reference.descriptor import read_descriptor
from tests.reference.segment import Decoded, Undecodable, read_segment
from tests.support.decoded import CompiledDecoder, of_reference, of_views
from tests.support.golden import KEYS, GoldenCase, golden_cases


@pytest.mark.parametrize("case", golden_cases(), ids=str)
def test_equals_the_reference(case: GoldenCase, tmp_path: Path) -> None:
    catalog = Catalog()
    compiled = CompiledDecoder()
    compared = 0
    for log in case.unpack(tmp_path):
        data = log.read_bytes()
        version = read_descriptor(data).version
        for item in read_segment(data, catalog, KEYS):
            if not isinstance(item, Decoded | Undecodable):
                continue
            try:
                views = compiled.views(item.entry.mutation, version.number)
            except UnknownTable:
                # Cassandra's own tables are never decoded, the reference learns them from the log.
                assert isinstance(item, Undecodable) or all(
                    update.table_id in SKIPPED_TABLE_IDS for update in item.mutation.updates
                )
                continue
            if isinstance(item, Decoded):
                assert of_views(views) == of_reference(item.mutation, version, catalog)
                compiled.learn(views)
                compared += 1
    assert compared
