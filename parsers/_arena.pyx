# cython: language_level=3, autotestdict=False, auto_pickle=False
"""A bump allocator: memory for one batch's rows and cells, released all at once."""
from libc.stdlib cimport free, malloc

cdef extern from *:
    """
    /* 0 gives every allocation a chunk of its own: a sanitizer then sees where each one ends. */
    #ifndef CDC_ARENA_CHUNK_BYTES
    #define CDC_ARENA_CHUNK_BYTES (256 * 1024)
    #endif
    """
    const Py_ssize_t CHUNK_BYTES "CDC_ARENA_CHUNK_BYTES"


cdef void arena_init(Arena *arena) noexcept nogil:
    arena.chunk = NULL
    arena.total = 0
    arena.reserved = 0


cdef void *arena_grow(Arena *arena, Py_ssize_t size) except NULL nogil:
    """A new chunk that holds at least `size` bytes, and those bytes from it."""
    cdef Py_ssize_t capacity = size if size > CHUNK_BYTES else CHUNK_BYTES
    cdef Chunk *chunk = <Chunk *>malloc(sizeof(Chunk) + capacity)
    if chunk == NULL:
        with gil:
            raise MemoryError(f"no memory for {capacity} bytes of decoded rows")
    chunk.previous = arena.chunk
    chunk.size = capacity
    chunk.used = size
    arena.chunk = chunk
    arena.total += size
    arena.reserved += capacity
    return <void *>(chunk + 1)


cdef ArenaMark arena_mark(Arena *arena) noexcept nogil:
    cdef ArenaMark mark
    mark.chunk = arena.chunk
    mark.used = arena.chunk.used if arena.chunk != NULL else 0
    mark.total = arena.total
    return mark


cdef void arena_rewind(Arena *arena, ArenaMark mark) noexcept nogil:
    """Give back everything that was handed out since `mark` was taken."""
    cdef Chunk *previous
    while arena.chunk != mark.chunk:
        previous = arena.chunk.previous
        arena.reserved -= arena.chunk.size
        free(arena.chunk)
        arena.chunk = previous
    if arena.chunk != NULL:
        arena.chunk.used = mark.used
    arena.total = mark.total


cdef void arena_clear(Arena *arena) noexcept nogil:
    """Empty, keeping one chunk: the next batch starts without asking the allocator."""
    cdef Chunk *first
    while arena.chunk != NULL and arena.chunk.previous != NULL:
        first = arena.chunk.previous
        arena.reserved -= arena.chunk.size
        free(arena.chunk)
        arena.chunk = first
    if arena.chunk != NULL:
        if arena.chunk.size > CHUNK_BYTES:
            arena_free(arena)
        else:
            arena.chunk.used = 0
    arena.total = 0


cdef void arena_free(Arena *arena) noexcept nogil:
    cdef Chunk *previous
    while arena.chunk != NULL:
        previous = arena.chunk.previous
        free(arena.chunk)
        arena.chunk = previous
    arena.total = 0
    arena.reserved = 0
