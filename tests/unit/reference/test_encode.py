"""Encoding what was decoded gives back the bytes that Cassandra wrote, and the same meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference.catalog import Catalog
from tests.reference.descriptor import read_descriptor
from tests.reference.encode import encode_mutation
from tests.reference.mutation import read_mutation
from tests.reference.segment import Decoded, read_segment
from tests.support.golden import GoldenCase, golden_cases

# The mutations of encrypted segments are those of the plain ones.
PLAIN = [case for case in golden_cases() if "encryption" not in case.facts["options"]]


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_gives_back_the_bytes(case: GoldenCase, tmp_path: Path) -> None:
    catalog = Catalog()
    live = -1 if case.series in ("5.0", "6.0") else None
    for log in case.unpack(tmp_path):
        data = log.read_bytes()
        descriptor = read_descriptor(data)
        for item in read_segment(data, catalog):
            if not isinstance(item, Decoded):
                continue
            encoded = encode_mutation(item.mutation, descriptor.version, catalog, live)
            if any(update.deletion for update in item.mutation.updates):
                # Here Cassandra's minima are not those of what the update holds: zeros for the
                # deletion alone, or counted with rows that the deletion beside them has removed.
                assert read_mutation(encoded, descriptor.version, catalog) == item.mutation
            else:
                assert encoded == item.entry.mutation
