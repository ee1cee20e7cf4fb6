from collections.abc import Iterable, Mapping
from typing import Self, final

from parsers._catalog import CompiledTable
from parsers.cql_types import CqlType

@final
class Relation:
    @property
    def table(self) -> CompiledTable: ...
    @property
    def static(self) -> bool: ...
    @property
    def row_type_oid(self) -> int: ...
    @property
    def key_type_oid(self) -> int: ...
    @property
    def gc_grace_seconds(self) -> int: ...
    @property
    def keeps_partition_key(self) -> bool: ...
    @property
    def keeps_clustering(self) -> bool: ...
    def __new__(
        cls,
        table: CompiledTable,
        *,
        static: bool,
        attributes: Iterable[tuple[str | None, int, str]],
        cids: Mapping[str, int],
        foreign: Mapping[str, tuple[CqlType, str]],
        renewed: Mapping[str, tuple[CqlType, str]],
        row_type_oid: int,
        key_type_oid: int,
        gc_grace_seconds: int,
    ) -> Self: ...
