# cython: language_level=3
"""When a row changes without a mutation, or has to be asked for; it writes nothing."""
from libc.stdint cimport int64_t

from parsers._catalog cimport ColumnCode
from parsers._model cimport Row

cdef int64_t next_due(const Row *row, const ColumnCode *columns, int64_t now_s) noexcept nogil
