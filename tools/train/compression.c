#include "compression.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "collective.h"

/* What the first message begins with: how many workers have met a number that is not finite. */
enum { VOTE_WORDS = 1 };

/* One tensor, and where it lies. */
typedef struct part {
    bool                is_compressed;
    compressor_matrix_t matrix;
    size_t              elems;
    size_t              offset; /* in the gradients */
    size_t message; /* words, in the message of all matrices, or in that of all tensors that are not compressed */
} part_t;

struct compression {
    compression_settings_t  settings;
    const compressor_ops_t *ops;
    const psgd_comm_t      *comm;
    part_t                 *parts;
    size_t                  count;
    size_t                  extent;
    size_t                  plain_words;   /* of tensors that are not compressed */
    size_t                  message_words; /* of all matrices, from one worker */
    float                  *memory;        /* extent: error or momentum; NULL where nothing is kept */
    float                  *values;        /* extent: the gradients on the host */
    uint32_t               *sums; /* the vote, the plain tensors and, with COMPRESSOR_SUMS, the matrices' messages */
    uint32_t               *gathered;       /* with COMPRESSOR_GATHERS: the matrices' messages, worker by worker */
    size_t                 *gathered_bytes; /* by worker */
    uint32_t               *scratch;
    compression_stats_t     stats;
};

static bool sums_messages(const compression_t *c)
{
    return c->ops->way == COMPRESSOR_SUMS;
}

static bool has_momentum(const compression_t *c)
{
    return c->ops->memory == COMPRESSOR_MOMENTUM;
}

/* This worker's message of all matrices. */
static uint32_t *own_message(const compression_t *c)
{
    return sums_messages(c) ? c->sums + VOTE_WORDS + c->plain_words
                            : c->gathered + c->comm->worker_index * c->message_words;
}

static uint64_t key_of(const char *name)
{
    uint64_t key = 0;

    for (; *name != '\0'; ++name) {
        key = random_mix(key ^ (unsigned char)*name);
    }
    return key;
}

static bool has_view(const psgd_tensor_t *tensor)
{
    return tensor->view.batch != 0 || tensor->view.rows != 0 || tensor->view.cols != 0;
}

static uint32_t smallest(uint64_t rank, uint64_t rows, uint64_t cols)
{
    const uint64_t side = rows < cols ? rows : cols;

    return (uint32_t)(rank < side ? rank : side);
}

/* Whether a tensor is compressed, as which matrix, and where it has its place: as the library decides (psgd_config_t). */
static tool_status_t plan_part(compression_t *c, const psgd_tensor_t *tensor, size_t offset, part_t *part)
{
    compressor_matrix_t *matrix = &part->matrix;
    uint64_t             cols   = 1;

    if (has_view(tensor)) {
        return tool_fail(TOOL_USAGE,
                         "--tensors: tensor '%s' has a view, which --compressor %s does not know; leave it out",
                         tensor->name, compressor_words[c->settings.compressor]);
    }
    for (uint32_t i = 1; i < tensor->num_dims; ++i) {
        cols *= tensor->dims[i];
    }
    part->elems  = (size_t)(tensor->dims[0] * cols);
    part->offset = offset;
    if (part->elems > UINT32_MAX) {
        return tool_fail(TOOL_FAILED, "tensor '%s' has %zu elements, and --compressor %s numbers them by 32 bits",
                         tensor->name, part->elems, compressor_words[c->settings.compressor]);
    }
    matrix->rows = (size_t)tensor->dims[0];
    matrix->cols = (size_t)cols;
    matrix->rank = smallest(tensor->rank > 0 ? (uint64_t)tensor->rank : c->settings.rank, matrix->rows, matrix->cols);
    matrix->key  = key_of(tensor->name);

    part->is_compressed =
        tensor->num_dims > 1 && tensor->rank != PSGD_NEVER_COMPRESS &&
        (double)((matrix->rows + matrix->cols) * matrix->rank) * c->settings.min_compression_rate < (double)part->elems;
    part->message = part->is_compressed ? c->message_words : c->plain_words;
    *(part->is_compressed ? &c->message_words : &c->plain_words) +=
        part->is_compressed ? c->ops->message_words(matrix) : part->elems;
    return TOOL_OK;
}

static tool_status_t plan(compression_t *c, const psgd_tensor_t *tensors, const size_t *offsets)
{
    tool_status_t status = tool_alloc(c->count, sizeof(*c->parts), "the tensors' messages", &c->parts);
    size_t        elems  = 0;

    for (size_t i = 0; i < c->count && status == TOOL_OK; ++i) {
        status = plan_part(c, &tensors[i], offsets[i], &c->parts[i]);
        elems += c->parts[i].elems;
    }
    c->stats.compression_rate = (double)elems / (double)(c->plain_words + c->message_words);
    return status;
}

static size_t most_scratch_words(const compression_t *c)
{
    size_t most = 0;

    for (size_t i = 0; i < c->count; ++i) {
        size_t words = c->parts[i].is_compressed ? c->ops->scratch_words(&c->parts[i].matrix) : 0;

        most = words > most ? words : most;
    }
    return most;
}

static tool_status_t allocate(compression_t *c)
{
    const uint32_t workers = c->comm->num_workers;
    const bool     keeps =
        c->ops->memory == COMPRESSOR_MOMENTUM || (c->ops->memory == COMPRESSOR_ERROR && c->settings.error_feedback);
    const size_t  sums   = VOTE_WORDS + c->plain_words + (sums_messages(c) ? c->message_words : 0);
    const size_t  words  = sums_messages(c) ? 0 : workers * c->message_words;
    tool_status_t status = tool_alloc(sums, sizeof(*c->sums), "the messages", &c->sums);

    if (status == TOOL_OK) {
        status = tool_alloc(words, sizeof(*c->gathered), "the workers' messages", &c->gathered);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(workers, sizeof(*c->gathered_bytes), "the sizes of messages", &c->gathered_bytes);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(c->extent, sizeof(*c->values), "the gradients on the host", &c->values);
    }
    if (status == TOOL_OK && keeps) {
        status = tool_alloc(c->extent, sizeof(*c->memory), "the compressor's memory", &c->memory);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(most_scratch_words(c), sizeof(*c->scratch), "the compressor's scratch memory", &c->scratch);
    }
    for (uint32_t w = 0; w < workers && status == TOOL_OK; ++w) {
        c->gathered_bytes[w] = c->message_words * sizeof(*c->gathered);
    }
    return status;
}

tool_status_t compression_create(const compression_settings_t *settings, const psgd_tensor_t *tensors,
                                 const size_t *offsets, size_t count, size_t extent, const psgd_comm_t *comm,
                                 compression_t **compression_p)
{
    compression_t *c      = NULL;
    tool_status_t  status = compressor_check(settings->compressor);

    if (status == TOOL_OK) {
        status = tool_alloc(1, sizeof(*c), "the compressor", &c);
    }
    if (status != TOOL_OK) {
        return status;
    }
    c->settings = *settings;
    c->ops      = compressor_find(settings->compressor);
    c->comm     = comm;
    c->count    = count;
    c->extent   = extent;
    status      = plan(c, tensors, offsets);
    if (status == TOOL_OK) {
        status = allocate(c);
    }
    if (status != TOOL_OK) {
        compression_destroy(c);
        return status;
    }
    *compression_p = c;
    return TOOL_OK;
}

void compression_destroy(compression_t *compression)
{
    if (compression != NULL) {
        free(compression->scratch);
        free(compression->memory);
        free(compression->values);
        free(compression->gathered_bytes);
        free(compression->gathered);
        free(compression->sums);
        free(compression->parts);
        free(compression);
    }
}

static bool is_finite(const float *values, size_t count)
{
    bool finite = true;

    for (size_t i = 0; i < count; ++i) {
        finite = finite && isfinite(values[i]);
    }
    return finite;
}

/* average = beta average + (1 - beta) values. */
static void follow(float *average, const float *values, size_t count, double beta)
{
    const float keep = (float)beta, take = (float)(1.0 - beta);

    for (size_t i = 0; i < count; ++i) {
        average[i] = keep * average[i] + take * values[i];
    }
}

/* What is compressed of a tensor: its gradient, with error or momentum where there is one. */
static const float *take_in(const compression_t *c, const part_t *part, const float *values)
{
    float *memory = c->memory != NULL ? c->memory + part->offset : NULL;

    if (memory == NULL) {
        return values + part->offset;
    }
    if (has_momentum(c)) {
        follow(memory, values + part->offset, part->elems, c->settings.momentum);
        return memory;
    }
    for (size_t i = 0; i < part->elems; ++i) {
        memory[i] += values[part->offset + i];
    }
    return memory;
}

/* This worker's message of one matrix, and what it leaves for the next step. */
static tool_status_t compress(const compression_t *c, const compressor_draw_t *draw, const part_t *part,
                              const float *values, bool *finite)
{
    const float  *from    = take_in(c, part, values);
    uint32_t     *message = own_message(c) + part->message;
    tool_status_t status;

    *finite = *finite && is_finite(from, part->elems);
    if (!*finite) { /* what is sent does not matter then */
        return TOOL_OK;
    }
    status = c->ops->encode(&part->matrix, draw, from, c->scratch, message);
    if (status == TOOL_OK && c->memory != NULL && !has_momentum(c)) {
        c->ops->decode(&part->matrix, draw, message, -1.0f, c->scratch, c->memory + part->offset);
    }
    return status;
}

/* Fills in all that this worker sends. */
static tool_status_t pack(const compression_t *c, uint64_t step, const float *values)
{
    const compressor_draw_t draw   = {c->settings.seed, step, c->comm->worker_index};
    bool                    finite = true;
    tool_status_t           status = TOOL_OK;

    memset(own_message(c), 0, c->message_words * sizeof(*c->sums));
    for (size_t i = 0; i < c->count && status == TOOL_OK; ++i) {
        const part_t *part = &c->parts[i];

        if (part->is_compressed) {
            status = compress(c, &draw, part, values, &finite);
        } else {
            finite = finite && is_finite(values + part->offset, part->elems);
            memcpy(c->sums + VOTE_WORDS + part->message, values + part->offset, part->elems * sizeof(*values));
        }
    }
    compressor_put(&c->sums[0], finite ? 0.0f : 1.0f);
    return status;
}

static tool_status_t diverged(uint64_t step)
{
    return tool_fail(TOOL_ALL_FAILED,
                     "the training diverged at step %llu: a gradient holds NaN or Inf; try a smaller --compressor-lr",
                     (unsigned long long)step);
}

/* Everything goes out, and all workers' is there. */
static tool_status_t exchange_messages(compression_t *c, uint64_t step)
{
    const double  begin = clock_now();
    const size_t  words = VOTE_WORDS + c->plain_words + (sums_messages(c) ? c->message_words : 0);
    tool_status_t status =
        collective_sum(c->comm, (float *)(void *)c->sums, words, "adding up the gradients' messages");

    c->stats.bytes_total += words * sizeof(*c->sums);
    c->stats.messages_last_step = 1;
    if (status == TOOL_OK && compressor_get(&c->sums[0]) != 0.0f) {
        status = diverged(step);
    }
    if (status == TOOL_OK && !sums_messages(c) && c->message_words > 0) {
        status = collective_gather(c->comm, c->gathered, c->gathered_bytes, "gathering the gradients' messages");
        c->stats.bytes_total += c->gathered_bytes[c->comm->worker_index];
        c->stats.messages_last_step = 2;
    }
    c->stats.network_seconds += clock_now() - begin;
    return status;
}

static void take_signs(float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = (float)((values[i] > 0.0f) - (values[i] < 0.0f));
    }
}

/* The update of a tensor that is not compressed. */
static void unpack_plain(const compression_t *c, const part_t *part, float *update)
{
    const float workers = (float)c->comm->num_workers;

    memcpy(update, c->sums + VOTE_WORDS + part->message, part->elems * sizeof(*update));
    for (size_t i = 0; i < part->elems; ++i) {
        update[i] /= workers;
    }
    if (has_momentum(c)) {
        follow(c->memory + part->offset, update, part->elems, c->settings.momentum);
        memcpy(update, c->memory + part->offset, part->elems * sizeof(*update));
    }
}

/* The update of a compressed one: the mean of what the messages say, or the votes counted; worker by worker in the same order
 * everywhere. */
static void unpack_matrix(const compression_t *c, uint64_t step, const part_t *part, float *update)
{
    const uint32_t workers = c->comm->num_workers;
    const float    share   = has_momentum(c) ? 1.0f : 1.0f / (float)workers;

    memset(update, 0, part->elems * sizeof(*update));
    for (uint32_t w = 0; w < (sums_messages(c) ? 1 : workers); ++w) {
        const compressor_draw_t draw    = {c->settings.seed, step, w};
        const uint32_t         *message = sums_messages(c) ? own_message(c) : c->gathered + w * c->message_words;

        c->ops->decode(&part->matrix, &draw, message + part->message, share, c->scratch, update);
    }
}

static void unpack(const compression_t *c, uint64_t step, float *values)
{
    for (size_t i = 0; i < c->count; ++i) {
        const part_t *part   = &c->parts[i];
        float        *update = values + part->offset;

        if (part->is_compressed) {
            unpack_matrix(c, step, part, update);
        } else {
            unpack_plain(c, part, update);
        }
        if (has_momentum(c)) {
            take_signs(update, part->elems);
        }
    }
}

/* To the 2-norm max_norm, where it is longer. All workers do it with the same bits. */
static void clip(float *update, size_t count, double max_norm)
{
    double squares = 0.0, norm;

    for (size_t i = 0; i < count; ++i) {
        squares += (double)update[i] * (double)update[i];
    }
    norm = sqrt(squares);
    for (size_t i = 0; i < count && norm > max_norm; ++i) {
        update[i] *= (float)(max_norm / norm);
    }
}

tool_status_t compression_step_host(compression_t *compression, float *values, uint64_t step)
{
    tool_status_t status = pack(compression, step, values);

    if (status == TOOL_OK) {
        status = exchange_messages(compression, step);
    }
    if (status != TOOL_OK) {
        return status;
    }
    unpack(compression, step, values);
    if (!is_finite(values, compression->extent)) { /* the same bits, and so the same verdict, on all */
        return diverged(step);
    }
    if (compression->settings.max_norm > 0.0 && !has_momentum(compression)) {
        clip(values, compression->extent, compression->settings.max_norm); /* between tensors it is 0 */
    }
    return TOOL_OK;
}

tool_status_t compression_step(compression_t *compression, const params_t *params, uint64_t step)
{
    const size_t  bytes  = compression->extent * sizeof(float);
    tool_status_t status = gpu_read(params->gpu, params->grads, compression->values, bytes);

    if (status == TOOL_OK) {
        status = compression_step_host(compression, compression->values, step);
    }
    return status == TOOL_OK ? gpu_write(params->gpu, params->grads, compression->values, bytes) : status;
}

const float *compression_memory(const compression_t *compression)
{
    return compression->memory;
}

compression_stats_t compression_stats(const compression_t *compression)
{
    return compression->stats;
}
