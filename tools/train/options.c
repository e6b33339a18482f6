#include "options.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "compressor_options.h"
#include "compressors/compressor.h"
#include "hierarchy.h"
#include "network.h"
#include "option_table.h"
#include "random.h"

static const char *const model_names[]       = {"mlp", "cnn", "lstm", NULL};
static const char *const save_form_names[] = {"exact", "mean", NULL};
static const char *const dtype_names[]       = {"f32", "f16", "bf16", NULL}; /* in the order of psgd_dtype_t */
static const char *const error_dtype_names[] = {"f32", "bf16", NULL};
static const char *const engine_names[]      = {"auto", "clblast", "fused", NULL}; /* in the order of psgd_engine_t */
static const char *const rule_names[]        = {"powersgd", "heavy-ball", "nesterov", NULL}; /* of psgd_rule_t */
static const char *const sharing_names[]     = {"auto", "none", "owners", NULL}; /* in the order of psgd_sharing_t */
static const char *const decay_names[] = {"linear", "cosine", "none", NULL};

/* Where --epochs, --lr and such are not given. Chosen so that two workers on two cores reach 87 % (mlp) and 89 %
 * (cnn), and a perplexity of 42 (lstm, where a bigram model has 56), in minutes. The lstm's few streams make many steps
 * of an epoch; its great learning rate goes with the clipping. */
typedef struct model_defaults {
    uint32_t epochs, batch;
    double   lr, momentum, max_norm;
    decay_t  decay;
} model_defaults_t;

static const model_defaults_t model_defaults[NUM_MODELS] = {
    [MODEL_MLP]  = {3, 32, 0.05, 0.9, 0.0, DECAY_LINEAR},
    [MODEL_CNN]  = {4, 32, 0.01, 0.9, 0.0, DECAY_LINEAR},
    [MODEL_LSTM] = {1, 8, 6.0, 0.9, 0.25, DECAY_LINEAR},
};

/* Of the lstm alone. */
enum { DEFAULT_EMBEDDING = 128, DEFAULT_HIDDEN = 128, DEFAULT_VOCABULARY = 4000, DEFAULT_BPTT = 25 };

static const char DEFAULT_IMAGES[] = "/usr/share/datasets/fashion-mnist";

#define FIELD(field_) offsetof(options_t, field_)

static const option_row_t rows[] = {
    {"--model", "mlp|cnn|lstm", OPTION_CHOICE, FIELD(model), 0, 0, model_names,
     "mlp (default): 784-256-128-10; cnn: 8 and 16 5x5 filters, 64 hidden; lstm: 2 layers, over words", 0},
    {"--width", "N", OPTION_U32, FIELD(width), 1, 64, NULL,
     "multiply hidden layers, filters and embedding by N, default 1; 10: some 5 million parameters (mlp, cnn)", 0},
    {"--depth", "N", OPTION_U32, FIELD(depth), 1, NETWORK_MAX_DEPTH, NULL,
     "mlp: how many there are of its last hidden layer, default 1", 0},
    {"--data", "PATH", OPTION_TEXT, FIELD(data), 0, 0, NULL,
     "directory of the IDX files, default /usr/share/datasets/fashion-mnist; lstm: a text, default the King James "
     "Bible",
     0},
    {"--vocabulary", "N", OPTION_U32, FIELD(vocabulary), 3, 1e6, NULL,
     "lstm: words that it knows, <unk> and the end of a sentence among them; default 4000", 0},
    {"--embedding", "N", OPTION_U32, FIELD(embedding), 1, 65536, NULL, "lstm: numbers for each word; default 128", 0},
    {"--hidden", "N", OPTION_U32, FIELD(hidden), 1, 65536, NULL, "lstm: units of each layer; default 128", 0},
    {"--bptt", "N", OPTION_U32, FIELD(bptt), 1, 1000, NULL,
     "lstm: words of each stream in a step, as far as gradients go back; default 25", 0},
    {"--tied", NULL, OPTION_FLAG, FIELD(tied), 0, 0, NULL, "lstm: the softmax's weight is the embedding", 0},
    {"--rank", "R", OPTION_U32, FIELD(rank), 0, PSGD_MAX_RANK, NULL,
     "low rank of PowerSGD, default 4; 0: plain all-reduce, nothing is compressed", 0},
    {"--compare", NULL, OPTION_FLAG, FIELD(compare), 0, 0, NULL,
     "train twice from the same parameters, plain and with PowerSGD, and compare", 0},
    {"--compressor", "NAME", OPTION_CHOICE, FIELD(compressor), 0, 0, compressor_words,
     "powersgd (default), or random-block, random-k, sign-norm, top-k, signum, atomo, svd, unbiased", 0},
    {"--compressor-lr", "X", OPTION_REAL, FIELD(compressor_lr), 0, 1000, NULL,
     "learning rate with another compressor; default --lr, signum: a hundredth of it", 0},
    {"--epochs", "N", OPTION_U32, FIELD(epochs), 1, 10000, NULL,
     "passes over the training data; default 3 (mlp), 4 (cnn), 1 (lstm)", 0},
    {"--steps", "N", OPTION_U64, FIELD(steps), 0, 1e9, NULL,
     "stop after N steps, however many epochs that is; 0 (default): whole epochs", 0},
    {"--batch", "N", OPTION_U32, FIELD(batch), 1, 8192, NULL,
     "images per worker and step, default 32; lstm: streams of words, default 8", 0},
    {"--lr", "X", OPTION_REAL, FIELD(lr), 0, 1000, NULL,
     "learning rate of the first step; default 0.05 (mlp), 0.01 (cnn), 6 (lstm)", 0},
    {"--decay", "linear|cosine|none", OPTION_CHOICE, FIELD(decay), 0, 0, decay_names,
     "how the learning rate falls to 0 at the last step; default linear", 0},
    {"--momentum", "X", OPTION_REAL, FIELD(momentum), 0, 0.9999, NULL, "of SGD; default 0.9", 0},
    {"--rule", "powersgd|heavy-ball|nesterov", OPTION_CHOICE, FIELD(rule), 0, 0, rule_names,
     "of the optimizer; heavy-ball (default): as torch.optim.SGD", 0},
    {"--weight-decay", "X", OPTION_REAL, FIELD(weight_decay), 0, 1000, NULL, "of all parameters; default 0", 0},
    {"--seed", "N", OPTION_U64, FIELD(seed), 0, 18446744073709551615.0, NULL,
     "of initial parameters, order of images and compression; default 1", 0},
    {"--test-every", "N", OPTION_U64, FIELD(test_every), 0, 1e9, NULL,
     "steps between two tests, outside the time that is measured; 0 (default): at the end alone", 0},
    {"--start-step", "N", OPTION_U64, FIELD(start_step), 0, 1e18, NULL,
     "plain steps before compression starts; default 0", 0},
    {"--half-iterations", "K", OPTION_U32, FIELD(half_iterations), 0, PSGD_MAX_HALF_ITERATIONS, NULL,
     "alternating half-iterations a step; 0 (default): full iterations", 0},
    {"--fused-update", NULL, OPTION_FLAG, FIELD(fused_update), 0, 0, NULL,
     "have the library update the parameters, straight from the factors", 0},
    {"--max-norm", "X", OPTION_REAL, FIELD(max_norm), 0, 1e30, NULL,
     "clip updates, all tensors together, to this 2-norm; 0: off; default 0 (mlp, cnn), 0.25 (lstm)", 0},
    {"--min-compression-rate", "X", OPTION_REAL, FIELD(min_compression_rate), 0, 1e9, NULL,
     "compress a matrix only if that sends so many times fewer elements; default 2", 0},
    {"--error-feedback", "0|1", OPTION_U32, FIELD(error_feedback), 0, 1, NULL,
     "1 (default): what compression leaves out is remembered; 0: it is lost", 0},
    {"--warm-start", "0|1", OPTION_U32, FIELD(warm_start), 0, 1, NULL,
     "1 (default): steps go on from the last factors; 0: from random ones", 0},
    {"--byte-budget", "BYTES", OPTION_U64, FIELD(byte_budget), 0, 1e15, NULL,
     "the most that a step sends: ranks are chosen for it, up to --rank; 0 (default): no budget", 0},
    {"--wire", "f32|f16|bf16", OPTION_CHOICE, FIELD(wire), 0, 0, dtype_names, "how factors travel; default f32", 0},
    {"--error-dtype", "f32|bf16", OPTION_CHOICE, FIELD(error_dtype), 0, 0, error_dtype_names,
     "what the error memory is kept in; default f32", 0},
    {"--gradient-dtype", "f32|f16|bf16", OPTION_CHOICE, FIELD(gradient_dtype), 0, 0, dtype_names,
     "what gradients are rounded to before the exchange; default f32", 0},
    {"--loss-scale", "X", OPTION_REAL, FIELD(loss_scale), 1e-30, 1e30, NULL,
     "what gradients are multiplied by before that, and divided by in the exchange; default 1", 0},
    {"--flatten", NULL, OPTION_FLAG, FIELD(flatten), 0, 0, NULL, "compress the whole gradient as one square matrix", 0},
    {"--orthogonalize-shorter", NULL, OPTION_FLAG, FIELD(shorter), 0, 0, NULL,
     "make the factor of a matrix's shorter side orthonormal first", 0},
    {"--new-rank", "R", OPTION_U32, FIELD(new_rank), 0, PSGD_MAX_RANK, NULL,
     "change to this rank at --new-rank-step; 0 (default): never", 0},
    {"--new-rank-step", "N", OPTION_U64, FIELD(new_rank_step), 0, 1e18, NULL, "before which step; default 0", 0},
    {"--tensors", "TEXT", OPTION_TEXT, FIELD(tensors), 0, 0, NULL,
     "ranks and views of tensors: \"fc1.weight rank=8; fc2.weight rank=never\"", 0},
    {"--absent-every", "N", OPTION_U32, FIELD(absent_every), 0, 1e6, NULL,
     "worker w has no gradient of tensor t in step s where t + w + s is a multiple of N; 0 (default): all are there",
     0},
    {"--reset-error-every", "N", OPTION_U64, FIELD(reset_error_every), 0, 1e18, NULL,
     "forget what compression has left out every N steps; 0 (default): never", 0},
    {"--bucket-kb", "N", OPTION_U64, FIELD(bucket_kb), 0, 1e12, NULL,
     "gradients of so many kilobytes (1000 bytes) are compressed and sent together; default 1000; 0: all of them", 0},
    {"--no-overlap", NULL, OPTION_FLAG, FIELD(no_overlap), 0, 0, NULL,
     "exchange gradients behind the backward pass, in one call, and not while it goes on", 0},
    {"--progress-thread", NULL, OPTION_FLAG, FIELD(progress_thread), 0, 0, NULL,
     "let a thread of the library go on with the exchange; needs MPI_THREAD_MULTIPLE", 0},
    {"--engine", "auto|clblast|fused", OPTION_CHOICE, FIELD(engine), 0, 0, engine_names,
     "who does the matrix products of the exchange; auto (default): measured for each shape", 0},
    {"--finite", NULL, OPTION_FLAG, FIELD(is_finite), 0, 0, NULL,
     "promise finite gradients: fewer passes over them, and no step that can be skipped", 0},
    {"--sharing", "auto|none|owners", OPTION_CHOICE, FIELD(sharing), 0, 0, sharing_names,
     "how workers come by the same bits; auto (default): by owners on unlike devices", 0},
    {"--hierarchy", "flat|nodes", OPTION_CHOICE, FIELD(hierarchy), 0, 0, hierarchy_words,
     "flat (default): all workers exchange messages; nodes: one for each node (PSGD_NODE names it)", 0},
    {"--check-every", "N", OPTION_U64, FIELD(check_every), 0, 1e18, NULL,
     "compare the workers' updates every N steps; 0 (default): never", 0},
    {"--energy-every", "N", OPTION_U64, FIELD(energy_every), 0, 1e9, NULL,
     "measure every N steps how much the factors capture; 0 (default): never", 0},
    {"--log-every", "N", OPTION_U64, FIELD(log_every), 0, 1e9, NULL,
     "have the library log a line of statistics every N steps (PSGD_LOG=info); 0 (default): never", 0},
    {"--save", "PATH", OPTION_TEXT, FIELD(save), 0, 0, NULL,
     "save the run: the reducer's checkpoint at PATH, parameters at PATH.model", 0},
    {"--save-every", "N", OPTION_U64, FIELD(save_every), 0, 1e9, NULL,
     "steps between two saves; 0 (default): at the end alone", 0},
    {"--save-form", "exact|mean", OPTION_CHOICE, FIELD(save_form), 0, 0, save_form_names,
     "exact (default): to go on bit for bit; mean: on any number of workers", 0},
    {"--resume", "PATH", OPTION_TEXT, FIELD(resume), 0, 0, NULL, "go on where the run saved at PATH was", 0},
    {"--stop-after", "N", OPTION_U64, FIELD(stop_after), 0, 1e9, NULL,
     "end after N steps of this call, however many the run has; 0 (default): go to its end", 0},
    {"--device", "NAME", OPTION_TEXT, FIELD(device), 0, 0, NULL,
     "index, P:D, gpu, cpu, or part of a name; default: PSGD_DEVICE, else the first GPU", 0},
    {"--json", "[FILE]", OPTION_OPTIONAL_TEXT, FIELD(json_file), 0, 0, NULL,
     "write the results as JSON to FILE, or to standard output in place of the table", FIELD(json)},
    {"--help", NULL, OPTION_FLAG, FIELD(help), 0, 0, NULL, "print this and exit", 0},
    {"--version", NULL, OPTION_FLAG, FIELD(version), 0, 0, NULL, "print the version and exit", 0},
};

enum { NUM_ROWS = sizeof(rows) / sizeof(rows[0]) };

const char *sharing_name(int sharing)
{
    return sharing_names[sharing];
}

const char *dtype_name(psgd_dtype_t dtype)
{
    return dtype_names[dtype];
}

psgd_dtype_t options_error_dtype(const options_t *options)
{
    return options->error_dtype == 0 ? PSGD_F32 : PSGD_BF16;
}

uint64_t options_bucket_bytes(const options_t *options)
{
    return 1000 * options->bucket_kb;
}

bool options_has_gradient(const options_t *options, uint32_t worker, size_t tensor, uint64_t step)
{
    return options->absent_every == 0 || (tensor + worker + step) % options->absent_every != 0;
}

const char *rule_name(int rule)
{
    return rule_names[rule];
}

const char *model_name(int model)
{
    return model_names[model];
}

const char *decay_name(int decay)
{
    return decay_names[decay];
}

/* Options of one model that are given to another. */
static tool_status_t check_model(const options_t *options)
{
    const char *stray = options->vocabulary > 0  ? "--vocabulary"
                        : options->embedding > 0 ? "--embedding"
                        : options->hidden > 0    ? "--hidden"
                        : options->bptt > 0      ? "--bptt"
                        : options->tied          ? "--tied"
                                                 : NULL;

    if (options->model != MODEL_MLP && options->depth > 1) {
        return tool_fail(TOOL_USAGE, "--depth is of --model mlp; --model %s has the layers that it has",
                         model_name(options->model));
    }
    if (options->model != MODEL_LSTM && stray != NULL) {
        return tool_fail(TOOL_USAGE, "%s is of --model lstm; --model %s takes images", stray,
                         model_name(options->model));
    }
    return TOOL_OK;
}

/* What was not given, as the model has it. */
static void set_defaults(options_t *options)
{
    const model_defaults_t *defaults = &model_defaults[options->model];

    options->epochs   = options->epochs == 0 ? defaults->epochs : options->epochs;
    options->batch    = options->batch == 0 ? defaults->batch : options->batch;
    options->lr       = options->lr < 0.0 ? defaults->lr : options->lr;
    options->momentum = options->momentum < 0.0 ? defaults->momentum : options->momentum;
    options->max_norm = options->max_norm < 0.0 ? defaults->max_norm : options->max_norm;
    options->decay    = options->decay < 0 ? (int)defaults->decay : options->decay;
    if (options->model != MODEL_LSTM) {
        options->data = options->data == NULL ? DEFAULT_IMAGES : options->data;
        return;
    }
    options->vocabulary = options->vocabulary == 0 ? DEFAULT_VOCABULARY : options->vocabulary;
    options->embedding  = options->embedding == 0 ? DEFAULT_EMBEDDING : options->embedding;
    options->hidden     = options->hidden == 0 ? DEFAULT_HIDDEN : options->hidden;
    options->bptt       = options->bptt == 0 ? DEFAULT_BPTT : options->bptt;
}

tool_status_t options_parse(int argc, char **argv, options_t *options_p)
{
    options_t options = {
        .rank                 = 4,
        .width                = 1,
        .depth                = 1,
        .bucket_kb            = OPTIONS_DEFAULT_BUCKET_KB,
        .lr                   = -1.0, /* not given; as momentum, max_norm, decay, and what is 0 and may not be */
        .compressor_lr        = -1.0,
        .momentum             = -1.0,
        .max_norm             = -1.0,
        .decay                = -1,
        .seed                 = 1,
        .min_compression_rate = 2.0,
        .loss_scale           = 1.0,
        .error_feedback       = 1,
        .warm_start           = 1,
        .rule                 = PSGD_RULE_HEAVY_BALL,
    };
    tool_status_t status;

    status = option_table_parse(rows, NUM_ROWS, argc, argv, &options);
    if (status != TOOL_OK) {
        return status;
    }
    if (options.compare && options.rank == 0) {
        return tool_fail(TOOL_USAGE,
                         "--compare needs a --rank of at least 1: rank 0 is the plain run that it compares with");
    }
    if (options.compare && (options.save != NULL || options.resume != NULL || options.stop_after > 0)) {
        return tool_fail(TOOL_USAGE, "--compare makes two runs: --save, --resume and --stop-after take one");
    }
    if (options.absent_every == 1) {
        return tool_fail(TOOL_USAGE, "--absent-every 1 leaves no gradient; it takes 0, or 2 and more");
    }
    if (options.new_rank > 0 && options.rank == 0) {
        return tool_fail(TOOL_USAGE, "--new-rank needs a --rank of at least 1: at rank 0 nothing is compressed");
    }
    if (options.new_rank == 0 && options.new_rank_step > 0) {
        return tool_fail(TOOL_USAGE, "--new-rank-step says when the rank changes; --new-rank has to say to which");
    }
    status = check_model(&options);
    if (status != TOOL_OK) {
        return status;
    }
    set_defaults(&options);
    if (options.tied && options.embedding != options.hidden) {
        return tool_fail(TOOL_USAGE,
                         "--tied makes one matrix of embedding and softmax: --embedding %u has to be --hidden %u",
                         (unsigned)options.embedding, (unsigned)options.hidden);
    }
    status = compressor_options_check(&options);
    if (status != TOOL_OK) {
        return status;
    }
    if (options.compressor_lr < 0.0) {
        options.compressor_lr = compressor_options_lr(&options);
    }
    *options_p = options;
    return TOOL_OK;
}

void options_print_help(FILE *file)
{
    fprintf(
        file,
        "psgd-train: data-parallel training on images or a text, with gradients averaged as they are or by PowerSGD\n"
        "\n"
        "  psgd-train [options]                      one worker\n"
        "  mpiexec -n 2 psgd-train --compare         two workers: plain all-reduce against PowerSGD\n"
        "\n");
    option_table_print(rows, NUM_ROWS, file);
    fprintf(file, "\nExit code: 0 done; 1 the data, the device or the training failed; 2 wrong usage.\n");
}

static uint64_t hash_real(uint64_t hash, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return random_mix(hash ^ bits);
}

uint64_t options_hash(const options_t *options)
{
    uint64_t hash = 0;

    hash = random_mix(hash ^ (uint64_t)options->model);
    hash = random_mix(hash ^ options->width);
    hash = random_mix(hash ^ options->depth);
    hash = random_mix(hash ^ options->bucket_kb);
    hash = random_mix(hash ^ options->rank);
    hash = random_mix(hash ^ (uint64_t)options->compare);
    hash = random_mix(hash ^ options->epochs);
    hash = random_mix(hash ^ options->steps);
    hash = random_mix(hash ^ options->batch);
    hash = hash_real(hash, options->lr);
    hash = random_mix(hash ^ (uint64_t)options->decay);
    hash = hash_real(hash, options->momentum);
    hash = random_mix(hash ^ options->seed);
    hash = random_mix(hash ^ options->start_step);
    hash = random_mix(hash ^ options->half_iterations);
    hash = hash_real(hash, options->max_norm);
    hash = random_mix(hash ^ (uint64_t)options->fused_update);
    hash = random_mix(hash ^ options->error_feedback);
    hash = random_mix(hash ^ options->warm_start);
    hash = random_mix(hash ^ options->byte_budget);
    hash = random_mix(hash ^ (uint64_t)options->wire);
    hash = random_mix(hash ^ (uint64_t)options->error_dtype);
    hash = random_mix(hash ^ (uint64_t)options->gradient_dtype);
    hash = hash_real(hash, options->loss_scale);
    hash = random_mix(hash ^ (uint64_t)options->flatten);
    hash = random_mix(hash ^ (uint64_t)options->shorter);
    hash = random_mix(hash ^ options->new_rank);
    hash = random_mix(hash ^ options->new_rank_step);
    hash = random_mix(hash ^ options->energy_every);
    for (const char *at = options->tensors; at != NULL && *at != '\0'; ++at) {
        hash = random_mix(hash ^ (unsigned char)*at);
    }
    hash = random_mix(hash ^ (uint64_t)options->sharing);
    if (options->hierarchy != (int)HIERARCHY_FLAT) { /* which runs saved before there was another one go on with */
        hash = random_mix(hash ^ (uint64_t)options->hierarchy);
    }
    if (options->model == MODEL_LSTM) {
        hash = random_mix(hash ^ options->vocabulary);
        hash = random_mix(hash ^ options->embedding);
        hash = random_mix(hash ^ options->hidden);
        hash = random_mix(hash ^ options->bptt);
        hash = random_mix(hash ^ (uint64_t)options->tied);
    }
    if (options->compressor != (int)COMPRESSOR_POWERSGD) {
        hash = random_mix(hash ^ (uint64_t)options->compressor);
        hash = hash_real(hash, options->compressor_lr);
    }
    hash = random_mix(hash ^ options->check_every);
    hash = random_mix(hash ^ options->absent_every);
    hash = random_mix(hash ^ options->reset_error_every);
    hash = random_mix(hash ^ (uint64_t)options->engine);
    hash = random_mix(hash ^ (uint64_t)options->is_finite);
    hash = random_mix(hash ^ (uint64_t)options->rule);
    hash = hash_real(hash, options->weight_decay);
    return hash_real(hash, options->min_compression_rate);
}

uint64_t options_job_hash(const options_t *options)
{
    return random_mix(options_hash(options) ^ options->test_every);
}
