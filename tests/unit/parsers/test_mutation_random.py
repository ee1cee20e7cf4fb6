"""The compiled decoder says of random mutations what the reference says."""

from __future__ import annotations

import pytest

from tests.reference.generate.log import FIRST_SEGMENT_ID, random_mutations, segment
from tests.tools.differential import compiled_differences

MUTATIONS = 300


@pytest.mark.parametrize("log_version", [6, 7, 8, 9])
@pytest.mark.parametrize("seed", [11, 12])
def test_equals_the_reference(log_version: int, seed: int) -> None:
    drawn = random_mutations(seed, log_version, MUTATIONS, vectors=log_version >= 8)
    data = segment(log_version, FIRST_SEGMENT_ID, [encoded for _, encoded in drawn])
    assert list(compiled_differences(data)) == []
