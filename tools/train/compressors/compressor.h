/* What a compressor other than PowerSGD has to bring: how one matrix becomes a message, and what a message says. Everything else,
 * memory, messages, means, is compression.h's and the same for all. Host arithmetic alone. */
#ifndef PSGD_TRAIN_COMPRESSOR_H
#define PSGD_TRAIN_COMPRESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"
#include "status.h"

typedef enum compressor {
    COMPRESSOR_POWERSGD, /* the library's: it has no row in the table below */
    COMPRESSOR_RANDOM_BLOCK,
    COMPRESSOR_RANDOM_K,
    COMPRESSOR_SIGN_NORM,
    COMPRESSOR_TOP_K,
    COMPRESSOR_SIGNUM,
    COMPRESSOR_ATOMO,
    COMPRESSOR_SVD,
    COMPRESSOR_UNBIASED,
    NUM_COMPRESSORS
} compressor_t;

/* The words of --compressor, in this order, and NULL. */
extern const char *const compressor_words[];

/* One matrix, row-major. */
typedef struct compressor_matrix {
    size_t   rows, cols; /* the product is below 2^32 */
    uint32_t rank;       /* r = min(--rank, rows, cols): the budget is (rows + cols) r numbers */
    uint64_t key;        /* of its random numbers */
} compressor_matrix_t;

/* What the random numbers of a step are functions of, beside the matrix. */
typedef struct compressor_draw {
    uint64_t seed, step;
    uint32_t worker; /* whose message it is */
} compressor_draw_t;

/* How the workers' messages are combined. */
typedef enum compressor_way {
    COMPRESSOR_SUMS,   /* messages are floats, and their sum is the message of the sum: all-reduce */
    COMPRESSOR_GATHERS /* every worker gets all messages: all-gather */
} compressor_way_t;

/* What happens to gradients before they are compressed, and to what has been compressed. */
typedef enum compressor_memory {
    COMPRESSOR_NO_MEMORY,
    COMPRESSOR_ERROR,   /* what a message leaves out of a matrix is added to its next gradient */
    COMPRESSOR_MOMENTUM /* an average of the gradients is compressed, and the update is the sign of the workers' sum */
} compressor_memory_t;

/* Messages consist of words of 32 bits, and are as long as the matrix asks for, whatever it holds. Scratch is of words too. */
typedef struct compressor_ops {
    const char         *title; /* in the table */
    compressor_way_t    way;
    compressor_memory_t memory;
    size_t (*message_words)(const compressor_matrix_t *matrix);
    size_t (*scratch_words)(const compressor_matrix_t *matrix);

    /* values: rows x cols finite numbers. Errors: a sentence. */
    tool_status_t (*encode)(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message);

    /* sum += scale x what the message says. A message of COMPRESSOR_SUMS may be a sum of several. The same bits on all
     * workers: fixed order, nothing that a C library rounds. */
    void (*decode)(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum);
} compressor_ops_t;

/* NULL for COMPRESSOR_POWERSGD. */
const compressor_ops_t *compressor_find(compressor_t compressor);

/* Whether the compressor keeps the momentum, and the optimizer has none. */
bool compressor_keeps_momentum(compressor_t compressor);

/* TOOL_FAILED with a sentence where the compressor needs a library that this program was built without. */
tool_status_t compressor_check(compressor_t compressor);

/* min(r (rows + cols), rows cols): the numbers that rank r sends, at most the matrix itself. */
size_t compressor_budget(const compressor_matrix_t *matrix);

/* A stream of a matrix and a step that is the same on all workers. */
random_stream_t compressor_common_stream(const compressor_matrix_t *matrix, const compressor_draw_t *draw);

/* Numbers as words and back: their bits. */
void  compressor_put(uint32_t *word, float number);
float compressor_get(const uint32_t *word);

/* One compressor a file. */
extern const compressor_ops_t random_block_ops, random_k_ops, sign_norm_ops, top_k_ops, signum_ops, atomo_ops, svd_ops,
    unbiased_ops;

#endif
