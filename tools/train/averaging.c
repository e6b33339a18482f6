#include "averaging.h"

#include "compressor_options.h"
#include "tensor_options.h"

/* What the library is told about the tensors: at rank 0, never to compress them. */
static tool_status_t describe_tensors(const trainer_t *trainer, uint32_t rank, psgd_tensor_t *tensors)
{
    const params_t  *params  = &trainer->network.params;
    const options_t *options = trainer->options;
    const char      *names[PARAMS_MAX_TENSORS];
    tool_status_t    status = TOOL_OK;

    for (size_t i = 0; i < params->count && status == TOOL_OK; ++i) {
        tensor_settings_t settings;

        status     = tensor_options_find(options->tensors, params->tensors[i].name, &settings);
        tensors[i] = params_tensor(params, i, (psgd_dtype_t)options->gradient_dtype, rank == 0);
        if (rank > 0) {
            tensors[i].rank = settings.rank;
            tensors[i].view = settings.view;
        }
        names[i] = params->tensors[i].name;
    }
    return status == TOOL_OK ? tensor_options_check(options->tensors, names, params->count) : status;
}

/* The reducer of a run: at rank 0, one that never compresses. */
static tool_status_t create_reducer(const trainer_t *trainer, uint32_t rank, uint64_t start_step,
                                    const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    const params_t  *params  = &trainer->network.params;
    const options_t *options = trainer->options;
    psgd_tensor_t    tensors[PARAMS_MAX_TENSORS];
    psgd_config_t    config = PSGD_CONFIG_INIT;

    tool_status_t status = describe_tensors(trainer, rank, tensors);

    if (status != TOOL_OK) {
        return status;
    }
    config.rank                  = rank > 0 ? rank : 1;
    config.min_compression_rate  = options->min_compression_rate;
    config.start_step            = start_step;
    config.half_iterations       = options->half_iterations;
    config.max_norm              = options->max_norm;
    config.seed                  = options->seed;
    config.error_feedback        = (int)options->error_feedback;
    config.warm_start            = (int)options->warm_start;
    config.byte_budget           = rank > 0 ? options->byte_budget : 0;
    config.wire                  = (psgd_dtype_t)options->wire;
    config.error_dtype           = options_error_dtype(options);
    config.flatten               = options->flatten;
    config.orthogonalize_shorter = options->shorter;
    config.energy_every          = options->energy_every;
    config.sharing               = (psgd_sharing_t)options->sharing;
    config.check_every           = options->check_every;
    config.log_every             = options->log_every;
    config.engine                = (psgd_engine_t)options->engine;
    config.gradients_are_finite  = options->is_finite;
    config.bucket_bytes          = options_bucket_bytes(options);
    config.progress_thread       = options->progress_thread;
    return tool_check(psgd_reducer_create(trainer->gpu.context, trainer->gpu.info.device, trainer->gpu.queue, tensors,
                                          params->count, &config, comm, reducer_p),
                      "creating the reducer");
}

/* Whether a run at this rank is that of --compressor, and not the library's. */
static bool is_compressed_otherwise(const options_t *options, uint32_t rank)
{
    return rank > 0 && options->compressor != (int)COMPRESSOR_POWERSGD;
}

static tool_status_t create_compression(const trainer_t *trainer, uint32_t rank, const psgd_comm_t *comm,
                                        compression_t **compression_p)
{
    const params_t              *params   = &trainer->network.params;
    const options_t             *options  = trainer->options;
    const compression_settings_t settings = {(compressor_t)options->compressor,
                                             rank,
                                             options->min_compression_rate,
                                             options->error_feedback != 0,
                                             options->momentum,
                                             options->seed,
                                             options->max_norm};
    psgd_tensor_t                tensors[PARAMS_MAX_TENSORS];
    size_t                       offsets[PARAMS_MAX_TENSORS];
    tool_status_t                status = describe_tensors(trainer, rank, tensors);

    for (size_t i = 0; i < params->count; ++i) {
        offsets[i] = params->tensors[i].offset;
    }
    return status == TOOL_OK
               ? compression_create(&settings, tensors, offsets, params->count, params->extent, comm, compression_p)
               : status;
}

tool_status_t averaging_create(trainer_t *trainer, uint32_t rank, uint64_t start_step, const psgd_comm_t *comm,
                               psgd_reducer_t **reducer_p)
{
    return is_compressed_otherwise(trainer->options, rank)
               ? create_compression(trainer, rank, comm, &trainer->compression)
               : create_reducer(trainer, rank, start_step, comm, reducer_p);
}

void averaging_destroy(trainer_t *trainer, psgd_reducer_t *reducer)
{
    compression_destroy(trainer->compression);
    trainer->compression = NULL;
    psgd_reducer_destroy(reducer);
}

tool_status_t averaging_change_rank(const trainer_t *trainer, psgd_reducer_t *reducer)
{
    const options_t *options = trainer->options;
    uint32_t         ranks[PARAMS_MAX_TENSORS];

    for (size_t i = 0; i < trainer->network.params.count; ++i) {
        ranks[i] = options->new_rank;
    }
    return tool_check(psgd_reducer_set_ranks(reducer, ranks, trainer->network.params.count), "changing the rank");
}

tool_status_t averaging_read_stats(const trainer_t *trainer, const psgd_reducer_t *reducer, psgd_stats_t *stats)
{
    compression_stats_t counted;

    if (trainer->compression == NULL) {
        return tool_check(psgd_reducer_get_stats(reducer, stats), "reading the statistics");
    }
    counted                   = compression_stats(trainer->compression);
    stats->bytes_total        = counted.bytes_total;
    stats->messages_last_step = counted.messages_last_step;
    stats->network_ns_total   = (uint64_t)(1e9 * counted.network_seconds);
    stats->compression_rate   = counted.compression_rate;
    return TOOL_OK;
}
