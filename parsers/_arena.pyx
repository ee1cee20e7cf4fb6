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


# What an emptied arena keeps, so that the next batch does not have the kernel clear its pages anew:
# 8 MiB, the rows of some ten thousand mutations. Measured: 5 % of decoding.
cdef enum:
    MAX_SPARE = 32


cdef void arena_init(Arena *arena) noexcept nogil:
    arena.chunk = NULL
    arena.spare = NULL
    arena.n_spare = 0
    arena.total = 0


cdef void *arena_grow(Arena *arena, Py_ssize_t size) except NULL nogil:
    """A new chunk that holds at least `size` bytes, and those bytes from it."""
    cdef Py_ssize_t capacity = size if size > CHUNK_BYTES else CHUNK_BYTES
    cdef Chunk *chunk = arena.spare
    if chunk != NULL and size <= CHUNK_BYTES:
        arena.spare = chunk.previous
        arena.n_spare -= 1
    else:
        chunk = <Chunk *>malloc(sizeof(Chunk) + capacity)
    if chunk == NULL:
        with gil:
            raise MemoryError(f"no memory for {capacity} bytes of decoded rows")
    chunk.previous = arena.chunk
    chunk.size = capacity
    chunk.used = size
    arena.chunk = chunk
    arena.total += size
    return <void *>(chunk + 1)


cdef void drop_chunk(Arena *arena) noexcept nogil:
    """Take the newest chunk out of use."""
    cdef Chunk *chunk = arena.chunk
    arena.chunk = chunk.previous
    if chunk.size > CHUNK_BYTES or arena.n_spare == MAX_SPARE:
        free(chunk)
        return
    chunk.previous = arena.spare
    arena.spare = chunk
    arena.n_spare += 1


cdef ArenaMark arena_mark(Arena *arena) noexcept nogil:
    cdef ArenaMark mark
    mark.chunk = arena.chunk
    mark.used = arena.chunk.used if arena.chunk != NULL else 0
    mark.total = arena.total
    return mark


cdef void arena_rewind(Arena *arena, ArenaMark mark) noexcept nogil:
    """Give back everything that was handed out since `mark` was taken."""
    while arena.chunk != mark.chunk:
        drop_chunk(arena)
    if arena.chunk != NULL:
        arena.chunk.used = mark.used
    arena.total = mark.total


cdef void arena_clear(Arena *arena) noexcept nogil:
    """Empty, for re-use."""
    while arena.chunk != NULL:
        drop_chunk(arena)
    arena.total = 0


cdef void arena_free(Arena *arena) noexcept nogil:
    cdef Chunk *chunk
    arena_clear(arena)
    while arena.spare != NULL:
        chunk = arena.spare
        arena.spare = chunk.previous
        free(chunk)
    arena.n_spare = 0
