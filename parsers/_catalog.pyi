from collections.abc import Iterable, Mapping
from typing import Literal, Self, final
from uuid import UUID

from parsers.masking import Mask
from parsers.schema import Column, DroppedColumn, Table

ACTIONS: dict[str, int]

@final
class CompiledTable:
    @property
    def table(self) -> Table: ...
    @property
    def columns(self) -> tuple[Column | DroppedColumn, ...]: ...
    @property
    def masks(self) -> dict[str, Mask]: ...
    def __new__(
        cls,
        table: Table,
        action: Literal["mirror", "discard", "skip", "divert"],
        pg_types: Mapping[str, str] | None = None,
        nul: str = "reject",
        masks: Mapping[str, Mask] | None = None,
    ) -> Self: ...

@final
class Catalog:
    @property
    def tables(self) -> list[CompiledTable]: ...
    def __new__(cls, tables: Iterable[CompiledTable], skipped: Iterable[UUID] = ()) -> Self: ...
