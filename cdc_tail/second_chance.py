"""Refused rows that are written to again: their dead letters join the batch that does so.

A row that PostgreSQL refused may be acceptable with the write that follows; then all of it belongs
into the mirror, as it is in Cassandra. Only the newest letters are watched, so that memory is
bounded; all others wait for `cdc-tail dlq retry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from parsers.decoder import Batch, Catalog, decode_kept
from parsers.position import Position
from sinks.postgres.set_aside import DeadLetter

MAX_LETTERS: Final = 1_000
MAX_BYTES: Final = 16 << 20


class SecondChances:
    """Open letters of refused rows, and which of their rows a batch writes to again."""

    def __init__(self, letters: Iterable[DeadLetter]) -> None:
        self._letters: dict[tuple[Position, int], DeadLetter] = {}
        self._watched: Batch | None = None
        self._by_key: dict[tuple[UUID, bytes], list[DeadLetter]] = {}
        self._add(letters)

    def __len__(self) -> int:
        return len(self._letters)

    def join(
        self,
        batch: Batch,
        still_open: Callable[[list[DeadLetter]], set[tuple[Position, int]]],
    ) -> list[DeadLetter]:
        """Add to the batch the mutations of letters of which it has a row; returns the letters.

        `still_open` tells which of them nobody has settled meanwhile; the others are forgotten.
        """
        if not self._letters:
            return []
        joined: dict[tuple[Position, int], DeadLetter] = {}
        watched = self._watch(batch.catalog)
        while True:
            found = {
                letter.name: letter
                for compiled, key in watched.shared(batch)
                for letter in self._by_key[compiled.table.id, key]
                if letter.name in self._letters and letter.name not in joined
            }
            if not found:
                return list(joined.values())
            open_ones = still_open(list(found.values()))
            for name in sorted(found):
                if name not in open_ones:
                    del self._letters[name]
                    continue
                # Several letters may be about one mutation: it is merged once more, which changes
                # nothing.
                letter = joined[name] = found[name]
                decode_kept(
                    letter.raw, batch, log_version=letter.log_version, position=letter.position
                )

    def settle(self, retried: Iterable[DeadLetter], refused: Iterable[DeadLetter]) -> None:
        """The batch is committed: what joined it is applied, except for what was refused."""
        for letter in retried:
            self._letters.pop(letter.name, None)
            self._watched = None
        self._add(refused)

    def _add(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            self._letters[letter.name] = letter
            self._watched = None
        size_bytes = sum(len(one.raw) for one in self._letters.values())
        for name in list(self._letters):  # the oldest first
            if len(self._letters) <= MAX_LETTERS and size_bytes <= MAX_BYTES:
                break
            size_bytes -= len(self._letters.pop(name).raw)

    def _watch(self, catalog: Catalog) -> Batch:
        """The rows of all letters as this catalog has them; no rows where it does not know them."""
        if self._watched is None or self._watched.catalog is not catalog:
            self._watched = Batch(catalog)
            self._by_key = {}
            for letter in self._letters.values():
                for each in (one := Batch(catalog), self._watched):
                    decode_kept(
                        letter.raw, each, log_version=letter.log_version, position=letter.position
                    )
                for compiled, key in one.touched_keys():
                    self._by_key.setdefault((compiled.table.id, key), []).append(letter)
        return self._watched
