"""What can be wrong with the bytes: three reasons, so that a test can tell them apart."""

from __future__ import annotations

from uuid import UUID


class DecodeError(Exception):
    """The bytes break a rule of the format; the message says which and where."""


class Truncated(DecodeError):
    """A field ends beyond the bytes that are there."""


class UnknownTable(DecodeError):
    """An update names a table id (or a column) that the schema does not hold."""

    def __init__(self, table_id: UUID, what: str = "table") -> None:
        super().__init__(f"unknown {what} of table id {table_id}")
        self.table_id = table_id
