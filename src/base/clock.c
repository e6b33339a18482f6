#define _GNU_SOURCE /* clock_gettime, nanosleep, sched_yield */
#include "base/clock.h"

#include <sched.h>
#include <time.h>

enum {
    SPIN_ROUNDS  = 16,     /* polls in a row before the processor is offered */
    YIELD_ROUNDS = 256,    /* polls before sleeping begins */
    MIN_SLEEP_NS = 5000,
    MAX_SLEEP_NS = 100000
};

static const double NS_PER_SECOND = 1e9;

uint64_t psgd_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t psgd_seconds_to_ns(double seconds, double default_seconds)
{
    double ns = (seconds == 0.0 ? default_seconds : seconds) * NS_PER_SECOND;

    return ns >= 9e18 ? UINT64_C(9000000000000000000) : (uint64_t)ns;
}

void psgd_yield(void)
{
    sched_yield();
}

void psgd_sleep_ns(uint64_t ns)
{
    struct timespec duration = {(time_t)(ns / UINT64_C(1000000000)), (long)(ns % UINT64_C(1000000000))};

    nanosleep(&duration, NULL); /* woken early by a signal: the poll that follows does not mind */
}

void psgd_rest(uint32_t round)
{
    uint64_t ns;

    if (round < SPIN_ROUNDS) {
        return;
    }
    if (round < YIELD_ROUNDS) {
        psgd_yield();
        return;
    }
    ns = (uint64_t)(round - YIELD_ROUNDS + 1) * MIN_SLEEP_NS;
    psgd_sleep_ns(ns < MAX_SLEEP_NS ? ns : MAX_SLEEP_NS);
}
