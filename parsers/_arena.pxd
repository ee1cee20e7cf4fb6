# cython: language_level=3
"""A bump allocator: memory for one batch's rows and cells, released all at once."""
from libc.stdint cimport uint8_t


cdef struct Chunk:
    Chunk *previous
    Py_ssize_t size
    Py_ssize_t used


cdef struct ArenaMark:
    Chunk *chunk
    Py_ssize_t used
    Py_ssize_t total


cdef struct Arena:
    Chunk *chunk
    Chunk *spare            # empty ones, each of the usual size
    int n_spare
    Py_ssize_t total        # bytes handed out


cdef void arena_init(Arena *arena) noexcept nogil
cdef void *arena_grow(Arena *arena, Py_ssize_t size) except NULL nogil
cdef ArenaMark arena_mark(Arena *arena) noexcept nogil
cdef void arena_rewind(Arena *arena, ArenaMark mark) noexcept nogil
cdef void arena_clear(Arena *arena) noexcept nogil
cdef void arena_free(Arena *arena) noexcept nogil


cdef inline void *arena_alloc(Arena *arena, Py_ssize_t size) except NULL nogil:
    """`size` bytes, 8-byte aligned. MemoryError when the allocator has none."""
    cdef Chunk *chunk = arena.chunk
    cdef uint8_t *place
    size = (size + 7) & ~(<Py_ssize_t>7)
    if chunk != NULL and size <= chunk.size - chunk.used:
        place = <uint8_t *>(chunk + 1) + chunk.used
        chunk.used += size
        arena.total += size
        return place
    return arena_grow(arena, size)
