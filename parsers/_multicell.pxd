"""A multi-cell list, set, map or UDT as one PostgreSQL field, from its live elements in any order.
"""

from parsers._buffer cimport Buffer
from parsers._check cimport Element
from parsers._types cimport TypeNode

# Each element must have passed element_check, and no two may have the same path.  No elements:
# NULL.
cdef int multicell_to_pg(
    const TypeNode *node, const Element *elements, Py_ssize_t count, Buffer *out) except -1 nogil
