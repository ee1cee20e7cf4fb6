# cython: language_level=3, autotestdict=False, auto_pickle=False
"""The value codecs as Python functions, for tests and tools: a Python object per value, never the
hot path.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free

from parsers._buffer cimport Buffer, buffer_free, buffer_init
from parsers._json cimport put_json
from parsers._types cimport CompiledType


def check(CompiledType compiled not None, const uint8_t[::1] value not None) -> int:
    """The reason code why the value can't be written, 0 if it can; `reason_text` has the words."""
    return value_check(compiled.node, _address(value), value.shape[0])


def to_pg(CompiledType compiled not None, const uint8_t[::1] value not None) -> bytes:
    """The field with its length (-1: NULL); ValueError with the reason if the value can't be
    written.
    """
    cdef Buffer out
    _require(value_check(compiled.node, _address(value), value.shape[0]))
    buffer_init(&out)
    try:
        value_to_pg(compiled.node, _address(value), value.shape[0], &out)
        return _taken(&out)
    finally:
        buffer_free(&out)


def elements_to_pg(CompiledType compiled not None, elements: list[tuple[bytes, bytes]]) -> bytes:
    """The field of a multi-cell column from its (path, value) pairs; ValueError as for to_pg."""
    cdef Buffer out
    cdef Py_ssize_t count = len(elements), i
    cdef const uint8_t[::1] path, value
    cdef Element *room = <Element *>calloc(<size_t>count + 1, sizeof(Element))
    if room == NULL:
        raise MemoryError()
    buffer_init(&out)
    try:
        for i in range(count):
            path, value = elements[i]
            room[i].path = _address(path)
            room[i].path_length = <int32_t>path.shape[0]
            room[i].value = _address(value)
            room[i].value_length = <int32_t>value.shape[0]
            _require(element_check(compiled.node, room + i))
        multicell_to_pg(compiled.node, room, count, &out)
        return _taken(&out)
    finally:
        free(room)
        buffer_free(&out)


def is_exact(CompiledType compiled not None, const uint8_t[::1] value not None) -> bool:
    """Whether from_pg gives these very bytes back."""
    return value_is_exact(compiled.node, _address(value), value.shape[0])


def from_pg(CompiledType compiled not None, const uint8_t[::1] field not None) -> bytes:
    """Cassandra's bytes of a field's content; ValueError where that is not exact."""
    cdef Buffer out
    buffer_init(&out)
    try:
        value_from_pg(compiled.node, _address(field), field.shape[0], &out)
        return _taken(&out)
    finally:
        buffer_free(&out)


def compare(
        CompiledType compiled not None, const uint8_t[::1] left not None,
        const uint8_t[::1] right not None) -> int:
    """Negative, 0 or positive in Cassandra's order."""
    return value_compare(
        compiled.node, _address(left), left.shape[0], _address(right), right.shape[0])


def to_json(CompiledType compiled not None, const uint8_t[::1] value not None) -> bytes:
    """The JSON text of the value; ValueError as for to_pg."""
    cdef Buffer out
    _require(value_check(compiled.node, _address(value), value.shape[0]))
    buffer_init(&out)
    try:
        put_json(&out, compiled.node, _address(value), value.shape[0])
        return _taken(&out)
    finally:
        buffer_free(&out)


cdef const uint8_t *_address(const uint8_t[::1] view) noexcept:
    # An empty view has no first byte; the codecs never look at one of size 0.
    return &view[0] if view.shape[0] else <const uint8_t *>b""


cdef object _taken(Buffer *out):
    return PyBytes_FromStringAndSize(<const char *>out.data, out.length)


cdef int _require(int reason) except -1:
    if reason:
        raise ValueError(reason_text(reason))
    return 0
