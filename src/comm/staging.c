#include "comm/staging.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

enum { MEASURED_ROUNDS = 3 };

struct psgd_stager {
    psgd_device_t *device;
    psgd_staging_t how;
    psgd_pinned_t  pinned; /* PSGD_STAGING_PINNED */
};

/* ---- reading: the three ways ---- */

static psgd_status_t enqueue_read(psgd_stager_t *stager, psgd_staged_read_t *read)
{
    switch (stager->how) {
    case PSGD_STAGING_MAP:
        return psgd_buffer_enqueue_map(stager->device, read->from, read->bytes, PSGD_MAP_READ, &read->mapped);
    case PSGD_STAGING_PINNED:
        return psgd_buffer_enqueue_read(stager->device, read->from, stager->pinned.host, read->bytes);
    case PSGD_STAGING_AUTO:
    case PSGD_STAGING_COPY: break;
    }
    return psgd_buffer_enqueue_read(stager->device, read->from, read->host, read->bytes);
}

/* The device has done its part. */
static psgd_status_t take_read(psgd_stager_t *stager, const psgd_staged_read_t *read)
{
    switch (stager->how) {
    case PSGD_STAGING_MAP:
        memcpy(read->host, read->mapped, read->bytes);
        return psgd_buffer_enqueue_unmap(stager->device, read->from, read->mapped);
    case PSGD_STAGING_PINNED: memcpy(read->host, stager->pinned.host, read->bytes); break;
    case PSGD_STAGING_AUTO:
    case PSGD_STAGING_COPY: break;
    }
    return PSGD_OK;
}

psgd_status_t psgd_stager_begin_read(psgd_stager_t *stager, psgd_view_t from, void *host, size_t bytes,
                                     psgd_staged_read_t *read_p)
{
    psgd_status_t status;

    *read_p = (psgd_staged_read_t){.from = from, .host = host, .bytes = bytes};
    status  = enqueue_read(stager, read_p);
    if (status != PSGD_OK) {
        return status;
    }
    read_p->is_under_way = true;
    return psgd_device_mark(stager->device, &read_p->mark);
}

psgd_status_t psgd_stager_end_read(psgd_stager_t *stager, psgd_staged_read_t *read, const char *what)
{
    psgd_status_t status = psgd_device_wait_mark(stager->device, &read->mark, what);

    if (status != PSGD_OK) {
        psgd_stager_cancel_read(stager, read);
        return status;
    }
    status = take_read(stager, read);
    memset(read, 0, sizeof(*read));
    return status;
}

/* With a stuck device it stays mapped. */
static void give_up_map(psgd_stager_t *stager, psgd_view_t view, void *mapped)
{
    if (!psgd_device_is_stuck(stager->device)) {
        psgd_buffer_cancel_map(stager->device, view, mapped);
    }
}

void psgd_stager_cancel_read(psgd_stager_t *stager, psgd_staged_read_t *read)
{
    psgd_mark_drop(&read->mark);
    if (read->mapped != NULL) {
        give_up_map(stager, read->from, read->mapped);
    }
    memset(read, 0, sizeof(*read));
}

psgd_status_t psgd_stager_read(psgd_stager_t *stager, psgd_view_t from, void *host, size_t bytes, const char *what)
{
    psgd_staged_read_t read;
    psgd_status_t      status = psgd_stager_begin_read(stager, from, host, bytes, &read);

    if (status != PSGD_OK) { /* what could be enqueued of it may be under way */
        if (read.is_under_way) {
            status = psgd_device_settle(stager->device, status, what);
        }
        psgd_stager_cancel_read(stager, &read);
        return status;
    }
    return psgd_stager_end_read(stager, &read, what);
}

/* ---- writing ---- */

static psgd_status_t write_by_map(psgd_stager_t *stager, const void *host, psgd_view_t to, size_t bytes, const char *what)
{
    void         *mapped = NULL;
    psgd_status_t status = psgd_buffer_enqueue_map(stager->device, to, bytes, PSGD_MAP_WRITE, &mapped);

    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_device_wait(stager->device, what);
    if (status != PSGD_OK) {
        give_up_map(stager, to, mapped);
        return status;
    }
    memcpy(mapped, host, bytes);
    return psgd_buffer_enqueue_unmap(stager->device, to, mapped);
}

psgd_status_t psgd_stager_enqueue_write(psgd_stager_t *stager, const void *host, psgd_view_t to, size_t bytes)
{
    if (stager->how == PSGD_STAGING_PINNED) {
        memcpy(stager->pinned.host, host, bytes);
        host = stager->pinned.host;
    }
    return psgd_buffer_enqueue_write(stager->device, to, host, bytes);
}

psgd_status_t psgd_stager_write(psgd_stager_t *stager, const void *host, psgd_view_t to, size_t bytes, const char *what)
{
    return stager->how == PSGD_STAGING_MAP ? write_by_map(stager, host, to, bytes, what)
                                           : psgd_stager_enqueue_write(stager, host, to, bytes);
}

/* ---- which one ---- */

/* A read and a write, the fastest of some rounds; the first is not counted. */
static psgd_status_t measure(psgd_stager_t *stager, psgd_view_t scratch, void *host, size_t bytes, uint64_t *ns_p)
{
    uint64_t best_ns = UINT64_MAX;

    for (int round = 0; round <= MEASURED_ROUNDS; ++round) {
        uint64_t      start_ns = psgd_now_ns();
        uint64_t      ns;
        psgd_status_t status = psgd_stager_read(stager, scratch, host, bytes, "the measuring of staging");

        if (status == PSGD_OK) {
            status = psgd_stager_write(stager, host, scratch, bytes, "the measuring of staging");
        }
        if (status == PSGD_OK) {
            status = psgd_device_wait(stager->device, "the measuring of staging");
        }
        if (status != PSGD_OK) {
            return status;
        }
        ns      = psgd_now_ns() - start_ns;
        best_ns = (round > 0) && (ns < best_ns) ? ns : best_ns;
    }
    *ns_p = best_ns;
    return PSGD_OK;
}

/* Copy or pinned. Where there is no pinned memory to be had, copy. */
static psgd_status_t choose_copy(psgd_stager_t *stager, psgd_view_t scratch, size_t max_bytes)
{
    void         *host = NULL;
    uint64_t      copy_ns, pinned_ns;
    psgd_status_t status;

    stager->how = PSGD_STAGING_COPY;
    if (psgd_pinned_create(stager->device, max_bytes, &stager->pinned) != PSGD_OK) {
        return PSGD_OK;
    }
    status = psgd_alloc(max_bytes, 1, "the measuring of staging", &host);
    if (status != PSGD_OK) {
        return status;
    }
    status = measure(stager, scratch, host, max_bytes, &copy_ns);
    if (status == PSGD_OK) {
        stager->how = PSGD_STAGING_PINNED;
        status      = measure(stager, scratch, host, max_bytes, &pinned_ns);
    }
    psgd_device_free_host(stager->device, host);
    if ((status == PSGD_OK) && (copy_ns <= pinned_ns)) {
        stager->how = PSGD_STAGING_COPY;
        psgd_pinned_destroy(stager->device, &stager->pinned);
    }
    return status;
}

static psgd_status_t prepare(psgd_stager_t *stager, psgd_staging_t how, psgd_view_t scratch, size_t max_bytes)
{
    stager->how = how;
    if (how == PSGD_STAGING_AUTO) {
        if (psgd_device_limits(stager->device)->has_unified_memory) {
            stager->how = PSGD_STAGING_MAP;
            return PSGD_OK;
        }
        return choose_copy(stager, scratch, max_bytes);
    }
    return how == PSGD_STAGING_PINNED ? psgd_pinned_create(stager->device, max_bytes, &stager->pinned) : PSGD_OK;
}

psgd_status_t psgd_stager_create(psgd_device_t *device, psgd_staging_t how, psgd_view_t scratch, size_t max_bytes,
                                 psgd_stager_t **stager_p)
{
    psgd_stager_t *stager;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*stager), "staging", &stager);
    if (status != PSGD_OK) {
        return status;
    }
    stager->device = device;
    status         = prepare(stager, how, scratch, max_bytes);
    if (status != PSGD_OK) {
        psgd_stager_destroy(stager);
        return status;
    }
    *stager_p = stager;
    return PSGD_OK;
}

psgd_staging_t psgd_stager_how(const psgd_stager_t *stager)
{
    return stager->how;
}

void psgd_stager_destroy(psgd_stager_t *stager)
{
    if (stager == NULL) {
        return;
    }
    psgd_pinned_destroy(stager->device, &stager->pinned);
    psgd_free(stager);
}
