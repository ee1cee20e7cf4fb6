"""A checked value as JSON text, in the form of Cassandra's own toJson."""

from libc.stdint cimport uint8_t

from parsers._buffer cimport Buffer
from parsers._types cimport TypeNode

# Appends the JSON of a value that passed value_check; an empty scalar is null.
cdef int put_json(
    Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil

# The same as a member name: always a string, made of the JSON text where that is none.
cdef int put_json_key(
    Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil

# A scalar's text without quotes.
cdef int put_scalar_text(
    Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil
