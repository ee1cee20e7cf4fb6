/* A 64-bit digest of a value's bytes: multiply, fold, repeat (as wyhash and its kin do).
 *
 * It tells the same write from another one with the same timestamp. Chance of taking two different
 * values for one: 2^-64 per such pair. Words are read in little-endian order everywhere, because
 * digests are stored and compared by other machines. */
#ifndef CDC_TAIL_DIGEST_H
#define CDC_TAIL_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <endian.h>

static inline uint64_t cdc_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t cdc_word(const uint8_t *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return le64toh(word);
}

static inline uint64_t cdc_digest(uint64_t seed, const uint8_t *p, size_t n)
{
    uint64_t state = seed ^ 0x8bb84b93962eacc9ull;
    size_t left = n;
    while (left > 16) {
        state = cdc_fold(cdc_word(p, 8) ^ 0x2d358dccaa6c78a5ull, cdc_word(p + 8, 8) ^ state);
        p += 16;
        left -= 16;
    }
    /* No bytes may have no address, which memcpy() is never to be given. */
    uint64_t a = left >= 8 ? cdc_word(p, 8) : left > 0 ? cdc_word(p, left) : 0;
    uint64_t b = left > 8 ? cdc_word(p + 8, left - 8) : 0;
    state = cdc_fold(a ^ 0x4b33a62ed433d4a3ull, b ^ state);
    return cdc_fold(state ^ 0x2d358dccaa6c78a5ull, (uint64_t)n ^ 0x9e3779b97f4a7c15ull);
}

#endif
