"""A whole segment: header, sections, entries, mutations, with the schema learnt on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.reference.catalog import Catalog
from tests.reference.descriptor import Descriptor, read_descriptor
from tests.reference.entries import Damage, Entry, read_entries
from tests.reference.errors import DecodeError
from tests.reference.model import Mutation
from tests.reference.mutation import read_mutation
from tests.reference.sections import End, Section, read_sections


@dataclass(frozen=True)
class Decoded:
    """An entry and what it says. The catalog given to `read_segment` is as of this entry while it
    is yielded.
    """

    entry: Entry
    mutation: Mutation


@dataclass(frozen=True)
class Undecodable:
    """An entry whose bytes are whole and whose mutation cannot be told: most often its table is not
    known.
    """

    entry: Entry
    error: DecodeError


Item = Decoded | Undecodable | Damage | Section | End


def read_segment(
    data: bytes, catalog: Catalog, keys: Mapping[str, bytes] | None = None
) -> Iterator[Item]:
    """Everything a segment holds, in log order: each Section before its entries, the End last.

    `keys`: key alias -> AES key for an encrypted segment. Raises DecodeError where header or
    section are damaged.
    """
    descriptor: Descriptor = read_descriptor(data)
    for section in read_sections(data, descriptor, keys or {}):
        yield section
        if isinstance(section, End):
            return
        for entry in read_entries(section):
            if isinstance(entry, Damage):
                yield entry
                continue
            try:
                mutation = read_mutation(entry.mutation, descriptor.version, catalog)
            except DecodeError as error:
                yield Undecodable(entry, error)
                continue
            yield Decoded(entry, mutation)
            catalog.learn(mutation)
