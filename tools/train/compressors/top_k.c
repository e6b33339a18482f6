/* Top K: the K elements of largest magnitude, as K numbers and K places of 32 bits. Half of the budget goes to the places. */
#include <string.h>

#include "compressor.h"

enum { HALF_BITS = 16, NUM_BINS = 1 << HALF_BITS };

static size_t count_of(const compressor_matrix_t *matrix)
{
    size_t count = compressor_budget(matrix) / 2;

    return count > 0 ? count : 1;
}

static size_t message_words(const compressor_matrix_t *matrix)
{
    return 2 * count_of(matrix);
}

static size_t scratch_words(const compressor_matrix_t *matrix)
{
    (void)matrix;
    return NUM_BINS;
}

/* Magnitudes are in the order of their bits. */
static uint32_t magnitude_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits & UINT32_C(0x7FFFFFFF);
}

/* How many magnitudes have each upper half; with `upper`, of those with this one how many have each lower half. */
static void count_halves(const float *values, size_t elems, const uint32_t *upper, uint32_t *bins)
{
    memset(bins, 0, NUM_BINS * sizeof(*bins));
    for (size_t i = 0; i < elems; ++i) {
        uint32_t bits = magnitude_of(values[i]);

        if (upper == NULL) {
            bins[bits >> HALF_BITS] += 1;
        } else if (bits >> HALF_BITS == *upper) {
            bins[bits % NUM_BINS] += 1;
        }
    }
}

/* The bin of the *left_p-th magnitude from above; *left_p becomes its number within the bin, from 1. */
static uint32_t bin_of(const uint32_t *bins, size_t *left_p)
{
    uint32_t bin = NUM_BINS - 1;

    for (; bins[bin] < *left_p; --bin) {
        *left_p -= bins[bin];
    }
    return bin;
}

/* The count-th magnitude from above; *equal_p: how many of those that equal it belong to the first `count`. */
static uint32_t find_smallest(const float *values, size_t elems, size_t count, uint32_t *bins, size_t *equal_p)
{
    uint32_t upper;

    *equal_p = count;
    count_halves(values, elems, NULL, bins);
    upper = bin_of(bins, equal_p);
    count_halves(values, elems, &upper, bins);
    return upper << HALF_BITS | bin_of(bins, equal_p);
}

/* Of equal ones the first. */
static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    size_t   elems = matrix->rows * matrix->cols;
    size_t   count = count_of(matrix);
    size_t   equal = 0, taken = 0;
    uint32_t smallest = find_smallest(values, elems, count, scratch, &equal);

    (void)draw;
    for (size_t i = 0; i < elems && taken < count; ++i) {
        uint32_t bits = magnitude_of(values[i]);

        if (bits > smallest || (bits == smallest && equal > 0)) {
            equal -= bits == smallest;
            compressor_put(&message[taken], values[i]);
            message[count + taken] = (uint32_t)i;
            taken += 1;
        }
    }
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    size_t count = count_of(matrix);

    (void)draw;
    (void)scratch;
    for (size_t i = 0; i < count; ++i) {
        sum[message[count + i]] += scale * compressor_get(&message[i]);
    }
}

const compressor_ops_t top_k_ops = {"top K", COMPRESSOR_GATHERS, COMPRESSOR_ERROR, message_words, scratch_words, encode,
                                    decode};
