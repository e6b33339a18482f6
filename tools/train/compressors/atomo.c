#include "atomo.h"

#include "factors.h"

/* From the largest down: as long as its share of what is left to be drawn would be 1 or more, a value is sent for certain. */
size_t atomo_fill(const float *values, size_t count, size_t wanted, double *scale_p)
{
    double rest    = 0.0;
    size_t certain = 0;

    for (size_t i = 0; i < count; ++i) {
        rest += (double)values[i];
    }
    while (certain < wanted && values[certain] > 0.0f && (double)(wanted - certain) * (double)values[certain] >= rest) {
        rest = 0.0; /* added up again: what is left of a difference would be rounding */
        certain += 1;
        for (size_t i = certain; i < count; ++i) {
            rest += (double)values[i];
        }
    }
    *scale_p = rest > 0.0 ? (double)(wanted - certain) / rest : 0.0;
    return certain;
}

/* Systematic sampling (Madow 1949): the probabilities side by side on a line, and picked is where the points u, u + 1, u + 2, ... fall.
 * No interval is longer than 1, so none is met twice; they are `wanted - certain` long together, so as many are met. */
size_t atomo_pick(const float *values, size_t count, size_t wanted, random_stream_t *stream, size_t *picked)
{
    double scale, point = random_unit(stream), end = 0.0;
    size_t certain = atomo_fill(values, count, wanted, &scale);
    size_t taken   = certain;

    for (size_t i = 0; i < certain; ++i) {
        picked[i] = i;
    }
    for (size_t i = certain; i < count && taken < wanted; ++i) {
        end += scale * (double)values[i];
        if (end > point) {
            picked[taken] = i;
            taken += 1;
            point += 1.0;
        }
    }
    return taken;
}

static size_t scratch_words(const compressor_matrix_t *matrix)
{
    size_t pick_words = matrix->rank * sizeof(size_t) / sizeof(uint32_t);

    return pick_words + singular_scratch_words(matrix->rows, matrix->cols);
}

/* Each worker draws for itself, so that what they miss does not add up. */
static random_stream_t own_stream(const compressor_matrix_t *matrix, const compressor_draw_t *draw)
{
    random_stream_t common = compressor_common_stream(matrix, draw);

    return random_stream(random_next(&common), draw->worker);
}

/* A value that is sent is divided by its probability, so that the mean is right. Where fewer than r are drawn, zeros are sent. */
static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    random_stream_t stream = own_stream(matrix, draw);
    size_t         *picked = (size_t *)(void *)scratch; /* at the beginning, where it is aligned */
    uint32_t       *rest   = scratch + matrix->rank * sizeof(*picked) / sizeof(*scratch);
    size_t          certain, taken;
    double          scale;
    singular_t      singular;
    tool_status_t   status = singular_decompose(values, matrix->rows, matrix->cols, rest, &singular);

    if (status != TOOL_OK) {
        return status;
    }
    certain = atomo_fill(singular.values, singular.count, matrix->rank, &scale);
    taken   = atomo_pick(singular.values, singular.count, matrix->rank, &stream, picked);
    for (size_t k = 0; k < matrix->rank; ++k) {
        double probability = k >= taken || k < certain ? 1.0 : scale * (double)singular.values[picked[k]];

        if (k < taken) {
            factors_put(matrix, &singular, picked[k], 1.0 / probability, k, message);
        } else {
            factors_put(matrix, &singular, 0, 0.0, k, message);
        }
    }
    return TOOL_OK;
}

const compressor_ops_t atomo_ops = {
    "spectral Atomo", COMPRESSOR_GATHERS, COMPRESSOR_NO_MEMORY, factors_words, scratch_words, encode, factors_decode};
