from typing import Self, final

from parsers._batch import Batch
from parsers._segment import SegmentReader
from parsers.view import Stop

@final
class Decoder:
    @property
    def version(self) -> int: ...
    def __new__(cls, log_version: int) -> Self: ...
    def fill(
        self, reader: SegmentReader, batch: Batch, *, max_events: int, max_bytes: int
    ) -> Stop: ...
    def add(
        self, mutation: bytes, batch: Batch, *, segment_id: int, offset: int
    ) -> Stop | None: ...
