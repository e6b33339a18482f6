#include "options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hierarchy.h"
#include "option_table.h"
#include "random.h"
#include "rank_list.h"

static const char *const engine_words[]  = {"auto", "fused", "clblast", NULL};
static const char *const staging_words[] = {"auto", "copy", "pinned", "map", NULL}; /* in the order of psgd_staging_t */
static const char *const dtype_words[]   = {"f32", "f16", "bf16", NULL}; /* in the order of psgd_dtype_t */
static const char *const sharing_words[] = {"auto", "none", "owners", NULL}; /* in the order of psgd_sharing_t */
static const char *const error_words[]   = {"f32", "bf16", NULL};
static const char *const buffers_words[] = {"one", "each", NULL};
static const char *const damage_words[]  = {"none", "update", "plain", "worker", NULL};

#define FIELD(field_) offsetof(options_t, field_)

static const option_row_t rows[] = {
    {"--model", "NAME|FILE", OPTION_TEXT, FIELD(model), 0, 0, NULL,
     "resnet18 (default), resnet50, lstm, gpt2, or a file with a line for each tensor: name dim dim ...", 0},
    {"--rank", "R", OPTION_U32, FIELD(rank), 1, PSGD_MAX_RANK, NULL, "low rank of PowerSGD, default 4", 0},
    {"--ranks", "R,R,...", OPTION_TEXT, FIELD(rank_list), 0, 0, NULL, "one after the other, in one table", 0},
    {"--steps", "N", OPTION_U32, FIELD(steps), 1, 1e6, NULL, "rounds that are timed, default 20", 0},
    {"--engine", "auto|fused|clblast", OPTION_CHOICE, FIELD(engine), 0, 0, engine_words,
     "who does the matrix products; auto (default): measured for each shape", 0},
    {"--finite", NULL, OPTION_FLAG, FIELD(is_finite), 0, 0, NULL, "promise finite gradients: fewer passes over them",
     0},
    {"--error-feedback", "0|1", OPTION_U32, FIELD(error_feedback), 0, 1, NULL,
     "1 (default): with error memory; 0: without", 0},
    {"--half-iterations", "K", OPTION_U32, FIELD(half_iterations), 0, PSGD_MAX_HALF_ITERATIONS, NULL,
     "alternating half-iterations a step; 0 (default): full iterations", 0},
    {"--norm", NULL, OPTION_FLAG, FIELD(takes_norm), 0, 0, NULL, "have the norm of the update taken too", 0},
    {"--max-norm", "X", OPTION_REAL, FIELD(max_norm), 0, 1e30, NULL,
     "clip updates, all tensors together, to this 2-norm; 0 (default): off", 0},
    {"--byte-budget", "BYTES", OPTION_U64, FIELD(byte_budget), 0, 1e15, NULL,
     "the most that a step sends: ranks are chosen for it, up to --rank; 0 (default): no budget", 0},
    {"--wire", "f32|f16|bf16", OPTION_CHOICE, FIELD(wire), 0, 0, dtype_words, "how factors travel; default f32", 0},
    {"--error-dtype", "f32|bf16", OPTION_CHOICE, FIELD(error_dtype), 0, 0, error_words,
     "what the error memory is kept in; default f32", 0},
    {"--energy-every", "N", OPTION_U64, FIELD(energy_every), 0, 1e9, NULL,
     "measure the captured energy every N steps; 0 (default): never", 0},
    {"--gradient-scale", "X", OPTION_REAL, FIELD(gradient_scale), 1e-30, 1e30, NULL,
     "what steps multiply gradients by; default 1", 0},
    {"--gradient-dtype", "f32|f16|bf16", OPTION_CHOICE, FIELD(gradient_dtype), 0, 0, dtype_words,
     "what gradients are stored in; default f32", 0},
    {"--absent-every", "N", OPTION_U32, FIELD(absent_every), 0, 1e6, NULL,
     "worker w has no gradient of tensor t where t + w is a multiple of N; 0 (default): all are there", 0},
    {"--flatten", NULL, OPTION_FLAG, FIELD(flatten), 0, 0, NULL, "compress the whole gradient as one square matrix", 0},
    {"--orthogonalize-shorter", NULL, OPTION_FLAG, FIELD(orthogonalize_shorter), 0, 0, NULL,
     "make the factor of a matrix's shorter side orthonormal first", 0},
    {"--warm-start", "0|1", OPTION_U32, FIELD(warm_start), 0, 1, NULL,
     "1 (default): steps go on from the last factors; 0: from random ones", 0},
    {"--min-compression-rate", "X", OPTION_REAL, FIELD(min_compression_rate), 0, 1e6, NULL,
     "compress a matrix only if that sends so many times fewer elements; default 2", 0},
    {"--start-step", "N", OPTION_U64, FIELD(start_step), 0, 1e15, NULL,
     "plain steps before compression starts; default 0", 0},
    {"--seed", "N", OPTION_U64, FIELD(seed), 0, 1e15, NULL, "of random factors; default 0", 0},
    {"--sharing", "auto|none|owners", OPTION_CHOICE, FIELD(sharing), 0, 0, sharing_words,
     "how workers come by the same bits; auto (default): by owners on unlike devices", 0},
    {"--check-every", "N", OPTION_U64, FIELD(check_every), 0, 1e15, NULL,
     "compare the workers' updates every N steps; 0 (default): never", 0},
    {"--rank-before", "R", OPTION_U32, FIELD(rank_before), 0, PSGD_MAX_RANK, NULL,
     "begin with this rank, and change to the one that is measured; 0 (default): no change", 0},
    {"--log-every", "N", OPTION_U64, FIELD(log_every), 0, 1e9, NULL,
     "have the library log a line of statistics every N steps (PSGD_LOG=info); 0 (default): never", 0},
    {"--update", NULL, OPTION_FLAG, FIELD(times_update), 0, 0, NULL,
     "time an optimizer's step too: decompress, then update, against straight from the factors", 0},
    {"--hierarchy", "flat|nodes", OPTION_CHOICE, FIELD(hierarchy), 0, 0, hierarchy_words,
     "flat (default): all workers exchange messages; nodes: one for each node (PSGD_NODE names it)", 0},
    {"--bucket-kb", "N", OPTION_U64, FIELD(bucket_kb), 0, 1e12, NULL,
     "gradients of so many kilobytes (1000 bytes) are compressed and sent together; 0 (default): all of them", 0},
    {"--progress-thread", NULL, OPTION_FLAG, FIELD(progress_thread), 0, 0, NULL,
     "let a thread of the library go on with submitted gradients; needs MPI_THREAD_MULTIPLE", 0},
    {"--backward-ms", "X", OPTION_REAL, FIELD(backward_ms), 0, 1e5, NULL,
     "time steps behind and beside a simulated backward pass of about X ms too; 0 (default): none", 0},
    {"--buffers", "one|each", OPTION_CHOICE, FIELD(buffers), 0, 0, buffers_words,
     "one (default): all gradients in one buffer; each: every tensor has its own", 0},
    {"--staging", "auto|copy|pinned|map", OPTION_CHOICE, FIELD(staging), 0, 0, staging_words,
     "how factors get to and from host memory; default auto", 0},
    {"--device", "NAME", OPTION_TEXT, FIELD(device), 0, 0, NULL,
     "index, P:D, gpu, cpu, or part of a name; default: PSGD_DEVICE, else the first GPU", 0},
    {"--ortho", NULL, OPTION_FLAG, FIELD(shows_ortho), 0, 0, NULL,
     "print which share of the step makes factors orthonormal", 0},
    {"--plan", NULL, OPTION_FLAG, FIELD(shows_plan), 0, 0, NULL, "print how each tensor is sent, and exit", 0},
    {"--json", "[FILE]", OPTION_OPTIONAL_TEXT, FIELD(json_file), 0, 0, NULL,
     "write the results as JSON to FILE, or to standard output in place of the table", FIELD(json)},
    {"--break-check", "none|update|plain|worker", OPTION_CHOICE, FIELD(damage), 0, 0, damage_words, NULL, 0},
    {"--help", NULL, OPTION_FLAG, FIELD(help), 0, 0, NULL, "print this and exit", 0},
    {"--version", NULL, OPTION_FLAG, FIELD(version), 0, 0, NULL, "print the version and exit", 0},
};

enum { NUM_ROWS = sizeof(rows) / sizeof(rows[0]) };

psgd_engine_t options_engine(const options_t *options)
{
    static const psgd_engine_t engines[] = {PSGD_ENGINE_AUTO, PSGD_ENGINE_FUSED, PSGD_ENGINE_CLBLAST};

    return engines[options->engine];
}

bool options_has_gradient(const options_t *options, uint32_t worker, size_t tensor)
{
    return options->absent_every == 0 || (tensor + worker) % options->absent_every != 0;
}

const char *sharing_name(int sharing)
{
    return sharing_words[sharing];
}

const char *dtype_name(psgd_dtype_t dtype)
{
    return dtype_words[dtype];
}

psgd_dtype_t options_error_dtype(const options_t *options)
{
    return options->error_dtype == 0 ? PSGD_F32 : PSGD_BF16;
}

const char *staging_name(int staging)
{
    return staging_words[staging];
}

const char *buffers_name(int buffers)
{
    return buffers_words[buffers];
}

tool_status_t options_parse(int argc, char **argv, options_t *options_p)
{
    options_t     options = {.model                = "resnet18",
                             .steps                = 20,
                             .error_feedback       = 1,
                             .warm_start           = 1,
                             .min_compression_rate = 2.0,
                             .gradient_scale       = 1.0};
    tool_status_t status  = option_table_parse(rows, NUM_ROWS, argc, argv, &options);

    if (status != TOOL_OK) {
        return status;
    }
    if (options.rank_list != NULL && options.rank != 0) {
        return tool_fail(TOOL_USAGE, "--rank and --ranks exclude each other");
    }
    if (options.rank_list != NULL && options.shows_plan) {
        return tool_fail(TOOL_USAGE, "--plan takes one --rank, not --ranks");
    }
    if (options.absent_every == 1) {
        return tool_fail(TOOL_USAGE, "--absent-every 1 leaves no gradient; it takes 0, or 2 and more");
    }
    if (options.takes_norm && options.max_norm != 0.0) {
        return tool_fail(TOOL_USAGE, "--norm and --max-norm exclude each other");
    }
    if (options.times_update && options.gradient_dtype != (int)PSGD_F32) {
        return tool_fail(TOOL_USAGE, "--update takes gradients in single precision, not --gradient-dtype %s",
                         dtype_name((psgd_dtype_t)options.gradient_dtype));
    }
    options.is_sweep  = options.rank_list != NULL;
    options.ranks[0]  = options.rank != 0 ? options.rank : 4;
    options.num_ranks = 1;
    if (options.is_sweep) {
        status = rank_list_parse("--ranks", options.rank_list, options.ranks, OPTIONS_MAX_RANKS, &options.num_ranks);
    }
    if (status == TOOL_OK) {
        *options_p = options;
    }
    return status;
}

void options_print_help(FILE *file)
{
    fprintf(file, "psgd-bench: how long a step of PowerSGD takes, against what the device's memory and MPI allow\n"
                  "\n"
                  "  psgd-bench [options]                                     one worker\n"
                  "  mpiexec -n 2 psgd-bench --model lstm --rank 4            two workers\n"
                  "\n");
    option_table_print(rows, NUM_ROWS, file);
    fprintf(file,
            "\nExit code: 0 done; 1 the device, the workers or the run failed; 2 wrong usage; 3 wrong results.\n");
}

uint64_t options_hash(const options_t *options)
{
    const uint64_t numbers[] = {options->steps,
                                (uint64_t)options->engine,
                                (uint64_t)options->is_finite,
                                options->error_feedback,
                                options->half_iterations,
                                (uint64_t)options->takes_norm,
                                options->byte_budget,
                                (uint64_t)options->wire,
                                (uint64_t)options->error_dtype,
                                options->energy_every,
                                (uint64_t)options->flatten,
                                (uint64_t)options->orthogonalize_shorter,
                                options->warm_start,
                                options->start_step,
                                options->seed,
                                options->log_every,
                                (uint64_t)options->sharing,
                                options->check_every,
                                options->rank_before,
                                options->absent_every,
                                (uint64_t)options->gradient_dtype,
                                (uint64_t)options->times_update,
                                options->bucket_kb,
                                (uint64_t)options->shows_plan,
                                (uint64_t)options->hierarchy,
                                (uint64_t)options->damage};
    const double   reals[]   = {options->gradient_scale, options->min_compression_rate, options->max_norm,
                                options->backward_ms};
    uint64_t       hash      = options->num_ranks;

    for (size_t i = 0; i < options->num_ranks; ++i) {
        hash = random_mix(hash ^ options->ranks[i]);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); ++i) {
        hash = random_mix(hash ^ numbers[i]);
    }
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); ++i) {
        uint64_t bits;

        memcpy(&bits, &reals[i], sizeof(bits));
        hash = random_mix(hash ^ bits);
    }
    return hash;
}
