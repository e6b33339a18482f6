/* The reducer's doors, but for its steps: every argument is checked here, and the caller's OpenCL handles become views. */
#include <stdio.h>
#include <string.h>

#include "api/arguments.h"
#include "api/memory.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/agree.h"
#include "core/progress.h"
#include "core/reducer.h"
#include "core/replicas.h"
#include "core/rerank.h"
#include "device/cl_device.h"

/* ---- create and destroy ---------------------------------------------------------------------------------------- */

/* The device of psgd_reducer_create(): the caller's context and device, or a device of our choice. */
static psgd_status_t open_device(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_log_t *log,
                                 psgd_device_t **device_p)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_status_t      status;

    if (id == NULL) {
        if ((context != NULL) || (queue != NULL)) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "device is NULL, but context or queue is given; pass the device of that "
                             "context");
        }
        status = psgd_device_find(NULL, &info);
        if (status != PSGD_OK) {
            return status;
        }
        id = info.device;
    }
    return psgd_device_open(context, id, queue, log, device_p);
}

/* Everything that this worker does alone. */
static psgd_status_t create_locally(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_tensor_t *given,
                                    size_t num_tensors, const psgd_config_t *config, const psgd_comm_t *comm,
                                    const psgd_log_t *log, psgd_reducer_t **reducer_p)
{
    psgd_reducer_parts_t parts   = {NULL, num_tensors, config, comm, NULL, false};
    psgd_tensor_t       *tensors = NULL;
    psgd_status_t        status;

    status = psgd_read_tensors(given, num_tensors, &tensors);
    if (status != PSGD_OK) {
        return status;
    }
    status = open_device(context, id, queue, log, &parts.device);
    if (status != PSGD_OK) {
        goto free_tensors;
    }
    if ((config->bucket_bytes > 0) || config->progress_thread) {
        status = psgd_device_separate(parts.device);
    }
    parts.tensors = tensors;
    if (status == PSGD_OK) {
        status = psgd_reducer_build(&parts, reducer_p);
    }
    if (status != PSGD_OK) {
        psgd_device_close(parts.device);
    }

free_tensors:
    psgd_free(tensors);
    return status;
}

psgd_status_t psgd_reducer_create(cl_context context, cl_device_id device, cl_command_queue queue,
                                  const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                                  const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    psgd_config_t   own     = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_patience_t patience = {0};
    psgd_log_t      log;
    psgd_status_t   status;

    status = psgd_check_comm(comm);
    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = reducer_p == NULL ? psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_create: reducer_p is NULL")
                               : psgd_read_config(config, &own);
    log              = psgd_log_open(own.log, own.log_user, own.log_level);
    log.worker_index = comm->worker_index;
    log.num_workers  = comm->num_workers;
    patience.warn_ns = psgd_seconds_to_ns(own.warn_seconds, PSGD_DEFAULT_WARN_SECONDS);
    patience.fail_ns = psgd_seconds_to_ns(own.deadline_seconds, PSGD_DEFAULT_DEADLINE_SECONDS);
    if ((status == PSGD_OK) && own.progress_thread) {
        status = psgd_progress_check(comm);
    }
    if (status == PSGD_OK) {
        status = create_locally(context, device, queue, tensors, num_tensors, &own, comm, &log, &reducer);
    }
    status = psgd_reducer_agree(reducer, comm, status, patience, &log, NULL);
    if (status != PSGD_OK) {
        psgd_reducer_destroy(reducer);
        return status;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): where reducer_p is NULL, the workers did not agree */
    *reducer_p = reducer;
    return PSGD_OK;
}

psgd_status_t psgd_reducer_set_ranks(psgd_reducer_t *reducer, const uint32_t *ranks, size_t num_tensors)
{
    psgd_status_t status = psgd_check_idle(reducer, "psgd_reducer_set_ranks");

    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    if (ranks == NULL) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_set_ranks: ranks is NULL");
    } else if (num_tensors != reducer->plan->num_given) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                           "psgd_reducer_set_ranks: num_tensors is %zu, but the reducer has %zu tensors", num_tensors,
                           reducer->plan->num_given);
    }
    return psgd_reducer_change_ranks(reducer, ranks, status);
}

void psgd_reducer_destroy(psgd_reducer_t *reducer)
{
    if (reducer != NULL) {
        psgd_reducer_release(reducer, reducer->device);
    }
}

/* ---- between steps --------------------------------------------------------------------------------------------- */

psgd_status_t psgd_reducer_reset_error(psgd_reducer_t *reducer)
{
    psgd_status_t status = psgd_check_idle(reducer, "psgd_reducer_reset_error");

    if (status == PSGD_OK) {
        status = psgd_reducer_check_poison(reducer);
    }
    return status == PSGD_OK ? psgd_reducer_zero_errors(reducer) : status;
}

/* ---- version --------------------------------------------------------------------------------------------------- */

const char *psgd_version_string(void)
{
    return PSGD_VERSION_STRING;
}

/* ---- replicas --------------------------------------------------------------------------------------------------- */

/* Regions of one call do not overlap: copying one would change another. */
static psgd_status_t check_regions_overlap(const psgd_reducer_t *reducer, const char *function,
                                           const psgd_region_t *regions, size_t num_regions)
{
    psgd_view_t  *places = NULL;
    psgd_status_t status = psgd_alloc(num_regions, sizeof(*places), "the places of regions", &places);

    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        status = psgd_locate_mem(reducer, regions[i].mem, regions[i].offset_bytes, &places[i]);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        for (size_t k = i + 1; (status == PSGD_OK) && (k < num_regions); ++k) {
            if (psgd_places_overlap(&places[i], regions[i].size_bytes, &places[k], regions[k].size_bytes)) {
                status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: regions %zu and %zu overlap in one buffer", function,
                                   i, k);
            }
        }
    }
    psgd_free(places);
    return status;
}

/* The caller's regions as views, after its queue; *replicas_p is freed by psgd_free(), also after an error. */
static psgd_status_t read_regions(psgd_reducer_t *reducer, const char *function, const psgd_region_t *regions,
                                  size_t num_regions, psgd_replica_t **replicas_p)
{
    psgd_status_t status;

    if ((regions == NULL) || (num_regions == 0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: there are no regions (regions is %s, num_regions %zu)",
                         function, regions == NULL ? "NULL" : "given", num_regions);
    }
    status = psgd_alloc(num_regions, sizeof(**replicas_p), "the list of regions", replicas_p);
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        char whose[64];

        snprintf(whose, sizeof(whose), "region %zu", i);
        if (regions[i].size_bytes == 0) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: region %zu has 0 bytes", function, i);
        }
        (*replicas_p)[i] = (psgd_replica_t){{regions[i].mem, regions[i].offset_bytes}, regions[i].size_bytes};
        status = psgd_check_mem(reducer, whose, regions[i].mem, regions[i].offset_bytes, regions[i].size_bytes, 1);
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "%s", function);
        }
    }
    if (status == PSGD_OK) {
        status = check_regions_overlap(reducer, function, regions, num_regions);
    }
    return status == PSGD_OK ? psgd_device_fence(reducer->device) : status;
}

psgd_status_t psgd_replica_check(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions)
{
    psgd_replica_t *replicas = NULL;
    psgd_status_t   status   = psgd_check_idle(reducer, "psgd_replica_check");

    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = read_regions(reducer, "psgd_replica_check", regions, num_regions, &replicas);
    status = psgd_replicas_compare(reducer, replicas, num_regions, status);
    psgd_free(replicas);
    return status;
}

psgd_status_t psgd_replica_sync(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions,
                                uint32_t root)
{
    psgd_replica_t *replicas = NULL;
    psgd_status_t   status   = psgd_check_idle(reducer, "psgd_replica_sync");

    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = read_regions(reducer, "psgd_replica_sync", regions, num_regions, &replicas);
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        char whose[64];

        snprintf(whose, sizeof(whose), "psgd_replica_sync: region %zu", i);
        status = psgd_check_host_access(reducer, whose, regions[i].mem);
    }
    if ((status == PSGD_OK) && (root >= reducer->comm->num_workers)) {
        status =
            psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_replica_sync: root is %u; there are %u workers, numbered from 0",
                      root, reducer->comm->num_workers);
    }
    status = psgd_replicas_copy(reducer, replicas, num_regions, root, status);
    psgd_free(replicas);
    return status;
}
