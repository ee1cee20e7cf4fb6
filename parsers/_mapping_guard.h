/* Keeps a process alive when a mapped file loses pages: it was cut, or its disk fails.
 *
 * Reading such a page raises SIGBUS. The handler puts a page of zeros in its place and notes the loss;
 * the read goes on, the zeros fail a checksum, and the owner of the mapping finds the note. Faults
 * outside the guarded ranges go to the handler that was there before.
 */
#ifndef CDC_TAIL_MAPPING_GUARD_H
#define CDC_TAIL_MAPPING_GUARD_H

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CDC_GUARD_SLOTS 512

typedef struct {
    uintptr_t base; /* 0: free; 1: being filled or cleared */
    size_t length;
    int lost;
} cdc_guard;

static cdc_guard cdc_guards[CDC_GUARD_SLOTS];
static struct sigaction cdc_guard_previous;
static uintptr_t cdc_guard_page_mask;

static void cdc_guard_on_sigbus(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    int saved_errno = errno;

    /* si_code <= 0: sent by a process, not by the kernel. */
    for (int i = 0; info->si_code > 0 && i < CDC_GUARD_SLOTS; i++) {
        uintptr_t base = __atomic_load_n(&cdc_guards[i].base, __ATOMIC_ACQUIRE);
        if (base <= 1 || at < base || at - base >= cdc_guards[i].length)
            continue;
        void *page = (void *)(at & cdc_guard_page_mask);
        size_t page_bytes = (size_t)(~cdc_guard_page_mask + 1);
        if (mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
            == MAP_FAILED)
            break;
        __atomic_store_n(&cdc_guards[i].lost, 1, __ATOMIC_RELEASE);
        errno = saved_errno;
        return;
    }
    if (cdc_guard_previous.sa_flags & SA_SIGINFO) {
        cdc_guard_previous.sa_sigaction(number, info, context);
    } else if (cdc_guard_previous.sa_handler != SIG_DFL
               && cdc_guard_previous.sa_handler != SIG_IGN) {
        cdc_guard_previous.sa_handler(number);
    } else {
        /* The instruction faults again and meets the default: the end of the process. */
        signal(SIGBUS, SIG_DFL);
        if (info->si_code <= 0)
            raise(SIGBUS);
    }
}

/* Make this the process's handler, above whatever is there. Call with the GIL held. */
static int cdc_guard_install(void)
{
    struct sigaction now, ours;

    if (sigaction(SIGBUS, NULL, &now) != 0)
        return -1;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == cdc_guard_on_sigbus)
        return 0;
    cdc_guard_page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    cdc_guard_previous = now;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = cdc_guard_on_sigbus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, NULL);
}

/* Guard length bytes at base: a slot, or -1 if all are taken. */
static int cdc_guard_add(const void *base, size_t length)
{
    for (int i = 0; i < CDC_GUARD_SLOTS; i++) {
        uintptr_t free_slot = 0;
        if (!__atomic_compare_exchange_n(&cdc_guards[i].base, &free_slot, 1, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        cdc_guards[i].length = length;
        cdc_guards[i].lost = 0;
        __atomic_store_n(&cdc_guards[i].base, (uintptr_t)base, __ATOMIC_RELEASE);
        return i;
    }
    return -1;
}

static void cdc_guard_remove(int slot)
{
    __atomic_store_n(&cdc_guards[slot].base, 0, __ATOMIC_RELEASE);
}

/* Whether a page of the guarded range was lost. */
static int cdc_guard_lost(int slot)
{
    return __atomic_load_n(&cdc_guards[slot].lost, __ATOMIC_ACQUIRE);
}

#endif
