"""Which keys a mirror has and Cassandra has not, told by sums over small ranges of tokens first.

It keeps two numbers per range, whatever the size of the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

BUCKETS: Final = 4096
_SHIFT: Final = 64 - 12


class KeySums:
    """How many keys fell into each range of tokens, and the sum of their digests."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self._sums = [0] * BUCKETS

    def add(self, token: int, key: Iterable[bytes | None]) -> None:
        """Count a key; `key` is any form of it that is the same on both sides."""
        bucket = bucket_of(token)
        digest = hashlib.blake2b(digest_size=8)
        for part in key:
            value = b"" if part is None else part
            digest.update(len(value).to_bytes(4) + value)
        self._counts[bucket] += 1
        self._sums[bucket] += int.from_bytes(digest.digest())

    @property
    def count(self) -> int:
        """All keys."""
        return sum(self._counts)

    def differing(self, other: KeySums) -> set[int]:
        """The ranges in which the keys are not the same."""
        return {
            bucket
            for bucket in range(BUCKETS)
            if self._counts[bucket] != other._counts[bucket]
            or self._sums[bucket] != other._sums[bucket]
        }


def bucket_of(token: int) -> int:
    """The range that a token falls into."""
    return (token + (1 << 63)) >> _SHIFT
