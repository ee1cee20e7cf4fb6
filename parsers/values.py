"""Single values for tools and tests: bytes of a cell to a PostgreSQL field and back, JSON, order.

The decoder itself works on whole batches and calls the compiled modules underneath.
"""

from parsers._check import reason_text
from parsers._types import CompiledType, compile_type
from parsers._values import (
    check,
    compare,
    elements_to_pg,
    from_pg,
    is_exact,
    to_json,
    to_pg,
)

__all__ = [
    "CompiledType",
    "check",
    "compare",
    "compile_type",
    "elements_to_pg",
    "from_pg",
    "is_exact",
    "reason_text",
    "to_json",
    "to_pg",
]
