/* Reads of memory that another process writes at the same time. */
#ifndef CDC_TAIL_MAPPING_H
#define CDC_TAIL_MAPPING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A big-endian word, loaded once: what comes after in program order is read later, and the compiler
 * may neither repeat this load nor move it. */
static inline uint32_t cdc_live_be32(const uint8_t *p)
{
    uint32_t word;
    __asm__ __volatile__("" ::: "memory");
    memcpy(&word, p, sizeof word);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* One past the last non-zero byte of p[0..n), 0 if there is none. */
static inline size_t cdc_nonzero_end(const uint8_t *p, size_t n)
{
    uint64_t word;
    while (n >= sizeof word) {
        memcpy(&word, p + n - sizeof word, sizeof word);
        if (word != 0)
            break;
        n -= sizeof word;
    }
    while (n > 0 && p[n - 1] == 0)
        n--;
    return n;
}

#endif
