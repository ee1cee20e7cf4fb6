"""Random mutations mean after encoding and decoding what they meant before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reference.catalog import Catalog
from tests.reference.generate.log import FIRST_SEGMENT_ID, random_mutations, segment
from tests.reference.model import Mutation, PartitionUpdate, Row
from tests.reference.segment import Decoded, read_segment

SEEDS = (1, 2, 3)


def without_flags(mutation: Mutation) -> Mutation:
    """The mutation without the wire's cell flags, which the encoder chooses by itself."""

    def row(found: Row) -> Row:
        return replace(found, cells=tuple(replace(cell, flags=0) for cell in found.cells))

    def update(found: PartitionUpdate) -> PartitionUpdate:
        return replace(
            found,
            static_row=found.static_row and row(found.static_row),
            unfiltereds=tuple(row(u) if isinstance(u, Row) else u for u in found.unfiltereds),
        )

    return replace(mutation, updates=tuple(update(u) for u in mutation.updates))


@pytest.mark.parametrize("log_version", [6, 7, 8, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_decoding_undoes_encoding(log_version: int, seed: int) -> None:
    drawn = list(random_mutations(seed, log_version, 150, vectors=log_version >= 8))
    data = segment(log_version, FIRST_SEGMENT_ID, [encoded for _, encoded in drawn])
    items = [item for item in read_segment(data, Catalog()) if isinstance(item, Decoded)]
    assert len(items) == len(drawn)
    for item, (mutation, encoded) in zip(items, drawn, strict=True):
        assert item.entry.mutation == encoded
        assert without_flags(item.mutation) == mutation
