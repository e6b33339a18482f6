#include "compressor_options.h"

#include "compressors/compressor.h"

/* Signs are of size 1, and gradients much smaller: the learning rate of one is no good to the other. */
static const double SIGN_LR_SHARE = 0.01;

static tool_status_t refuse(const options_t *options, const char *option, const char *why)
{
    return tool_fail(TOOL_USAGE, "%s does not go with --compressor %s: %s", option,
                     compressor_words[options->compressor], why);
}

/* An option, and whether it is not at its default. */
typedef struct given {
    const char *option;
    bool        is_given;
} given_t;

/* What the library does, and the compressors of this program do not. */
static tool_status_t check_library_options(const options_t *o)
{
    const given_t rows[] = {
        {"--start-step", o->start_step > 0},
        {"--half-iterations", o->half_iterations > 0},
        {"--fused-update", o->fused_update},
        {"--warm-start", o->warm_start == 0},
        {"--byte-budget", o->byte_budget > 0},
        {"--wire", o->wire != (int)PSGD_F32},
        {"--error-dtype", o->error_dtype != 0},
        {"--gradient-dtype", o->gradient_dtype != (int)PSGD_F32},
        {"--loss-scale", o->loss_scale < 1.0 || o->loss_scale > 1.0},
        {"--flatten", o->flatten},
        {"--orthogonalize-shorter", o->shorter},
        {"--new-rank", o->new_rank > 0},
        {"--absent-every", o->absent_every > 0},
        {"--reset-error-every", o->reset_error_every > 0},
        {"--engine", o->engine != (int)PSGD_ENGINE_AUTO},
        {"--finite", o->is_finite},
        {"--sharing", o->sharing != (int)PSGD_SHARING_AUTO},
        {"--check-every", o->check_every > 0},
        {"--energy-every", o->energy_every > 0},
        {"--log-every", o->log_every > 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        if (rows[i].is_given) {
            return refuse(o, rows[i].option, "it is of the library's PowerSGD");
        }
    }
    return TOOL_OK;
}

/* How gradients get to the library concerns the plain run alone. */
static tool_status_t check_form(const options_t *o)
{
    const given_t rows[] = {
        {"--bucket-kb", o->bucket_kb != OPTIONS_DEFAULT_BUCKET_KB},
        {"--no-overlap", o->no_overlap},
        {"--progress-thread", o->progress_thread},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !o->compare; ++i) {
        if (rows[i].is_given) {
            return refuse(o, rows[i].option,
                          "gradients are exchanged in one call behind the backward pass; "
                          "it takes --compare, whose plain run knows it");
        }
    }
    return TOOL_OK;
}

tool_status_t compressor_options_check(const options_t *options)
{
    const compressor_t      compressor = (compressor_t)options->compressor;
    const compressor_ops_t *ops        = compressor_find(compressor);
    tool_status_t           status;

    if (ops == NULL) {
        return options->compressor_lr < 0.0
                   ? TOOL_OK
                   : tool_fail(TOOL_USAGE,
                               "--compressor-lr is for other compressors than powersgd, whose learning rate is --lr");
    }
    if (options->rank == 0) {
        return refuse(options, "--rank", "at rank 0 nothing is compressed");
    }
    if (options->save != NULL || options->resume != NULL) {
        return refuse(options, options->save != NULL ? "--save" : "--resume", "what it remembers cannot be saved");
    }
    if (options->error_feedback == 0 && ops->memory != COMPRESSOR_ERROR) {
        return refuse(options, "--error-feedback", "it has no error feedback");
    }
    if (compressor_keeps_momentum(compressor) && options->rule != (int)PSGD_RULE_HEAVY_BALL) {
        return refuse(options, "--rule",
                      "it keeps the momentum itself, and each parameter loses lr (update + weight-decay "
                      "parameter); leave --rule at heavy-ball");
    }
    status = check_library_options(options);
    if (status == TOOL_OK) {
        status = check_form(options);
    }
    return status == TOOL_OK ? compressor_check(compressor) : status;
}

double compressor_options_lr(const options_t *options)
{
    return compressor_keeps_momentum((compressor_t)options->compressor) ? SIGN_LR_SHARE * options->lr : options->lr;
}

void compressor_options_title(const options_t *options, uint32_t rank, char *text, size_t bytes)
{
    const compressor_ops_t *ops = compressor_find((compressor_t)options->compressor);

    if (rank == 0) {
        snprintf(text, bytes, "plain all-reduce");
    } else if (ops == NULL) {
        snprintf(text, bytes, "PowerSGD, rank %u", (unsigned)rank);
    } else {
        snprintf(text, bytes, "%s", ops->title);
    }
}
