from typing import final

from parsers.cql_types import CqlType

@final
class CompiledType:
    @property
    def cql_type(self) -> CqlType: ...
    @property
    def pg_type(self) -> str: ...

def compile_type(
    cql_type: CqlType, pg_type: str, key: bool = ..., nul: str = ...
) -> CompiledType: ...
