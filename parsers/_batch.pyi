import builtins
from typing import Literal, Self, final

from typing_extensions import disjoint_base

from parsers._catalog import Catalog, CompiledTable
from parsers._segment import SegmentReader
from parsers.position import Position
from parsers.schema import Table
from parsers.view import Rejected

# (what, mutation, detail): the detail's form goes with what happened.
Stop = (
    tuple[Literal["incomplete", "end", "corrupt", "full"], None, None]
    | tuple[Literal["diverted"], bytes, None]
    | tuple[Literal["unknown_table"], bytes, bytes]
    | tuple[Literal["unknown_column"], bytes, tuple[Table, bytes]]
    | tuple[Literal["malformed"], bytes, tuple[Table | None, str]]
)

@final
@disjoint_base
class Batch:
    @property
    def catalog(self) -> Catalog: ...
    @property
    def pins(self) -> list[object]: ...
    @property
    def rejections(self) -> list[Rejected]: ...
    @property
    def mutations(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def min_writetime_us(self) -> int: ...
    @property
    def max_writetime_us(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def position(self) -> Position | None: ...
    def __new__(cls, catalog: Catalog) -> Self: ...
    def __len__(self) -> int: ...
    def touch(
        self,
        compiled: CompiledTable,
        partition_key: builtins.bytes,
        clustering: builtins.bytes,
        static: bool,
    ) -> None: ...
    def touched(self) -> list[CompiledTable]: ...
    def advance(self, segment_id: int, offset: int) -> None: ...
    def clear(self) -> None: ...

@final
@disjoint_base
class Decoder:
    @property
    def version(self) -> int: ...
    def __new__(cls, log_version: int) -> Self: ...
    def fill(
        self, reader: SegmentReader, batch: Batch, *, max_events: int, max_bytes: int
    ) -> Stop: ...
    def add(
        self, mutation: builtins.bytes, batch: Batch, *, segment_id: int, offset: int
    ) -> Stop | None: ...
