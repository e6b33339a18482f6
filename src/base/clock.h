/* Monotonic time, deadlines, and polite polling. */
#ifndef PSGD_BASE_CLOCK_H
#define PSGD_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds from an arbitrary start. */
uint64_t psgd_now_ns(void);

/* How long a wait may take, and what is looked at meanwhile. */
typedef struct psgd_patience {
    uint64_t warn_ns; /* after this, one warning */
    uint64_t fail_ns; /* after this, PSGD_ERR_TIMEOUT */
    /* Called between two polls; NULL: nothing is. Whether there is something that gets on only while it is looked at. */
    bool (*watch)(void *watched);
    void *watched;
} psgd_patience_t;

/* Seconds to nanoseconds, saturating; for 0 the given default. */
uint64_t psgd_seconds_to_ns(double seconds, double default_seconds);

/* Rests between two polls number `round` and `round + 1` (from 0): not at all at first, then by giving up the processor, then
 * by sleeping ever longer, up to 100 microseconds: short waits stay short, long ones leave the cores to the workers. */
void psgd_rest(uint32_t round);

/* Offers the processor to threads that wait for one. */
void psgd_yield(void);

/* Sleeps. */
void psgd_sleep_ns(uint64_t ns);

#endif
