#include "core/narrow.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/half.h"
#include "base/memory.h"
#include "base/status.h"
#include "comm/wait.h"

/* A segment in memory: [ an exponent a matrix | factors, in 16 bits or in 32 | other floats | vote ], each padded to floats. */
enum { ALIGNMENT_BYTES = sizeof(float) };

/* The largest element of a scaled part is in [2^LARGEST, 2^(LARGEST + 1)). */
enum { LARGEST = 14, LEAST_EXPONENT = -126 };

struct psgd_narrow {
    const psgd_plan_t *plan;
    psgd_dtype_t       dtype;
    uint32_t           num_workers, own; /* own: this worker's index */
    size_t             vote_elems;

    /* The exchange under way. */
    psgd_factor_kind_t kind;
    bool               comes_back_narrow;
    size_t             factor_elems, rest_elems;

    char   *send;                                      /* a segment for each owner */
    char   *receive;                                   /* this worker's segment from each worker */
    char   *gather;                                    /* all segments, summed */
    size_t *send_bytes, *receive_bytes, *gather_bytes; /* by worker */
    float  *sent;
    float  *sums;  /* of the own segment: factors, other floats, vote */
    float  *parts; /* the same of one worker */
};

/* ---- where things are ---- */

size_t psgd_narrow_factor_elems(const psgd_narrow_t *n, psgd_factor_kind_t kind)
{
    return (size_t)(kind == PSGD_FACTOR_P ? n->plan->p_elems : n->plan->q_elems);
}

static size_t segment_begin(size_t elems, uint32_t num_workers, uint32_t segment)
{
    return (size_t)((uint64_t)(elems / num_workers) * segment + psgd_min(segment, elems % num_workers));
}

typedef struct range {
    size_t begin, end;
} range_t;

static range_t segment_of(const psgd_narrow_t *n, size_t elems, uint32_t segment)
{
    return (range_t){segment_begin(elems, n->num_workers, segment), segment_begin(elems, n->num_workers, segment + 1)};
}

static size_t length(range_t range)
{
    return range.end - range.begin;
}

/* The factor of matrix m. */
static range_t range_of_matrix(const psgd_narrow_t *n, size_t m)
{
    const psgd_plan_matrix_t *matrix = &n->plan->matrices[m];

    if (n->kind == PSGD_FACTOR_P) {
        return (range_t){(size_t)matrix->p_offset_elems, (size_t)(matrix->p_offset_elems + matrix->rows * matrix->r)};
    }
    return (range_t){(size_t)matrix->q_offset_elems, (size_t)(matrix->q_offset_elems + matrix->cols * matrix->r)};
}

/* The first matrix whose factor ends behind `at`. */
static size_t matrix_at(const psgd_narrow_t *n, size_t at)
{
    size_t low = 0, high = n->plan->num_matrices;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (range_of_matrix(n, middle).end > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Matrices that have elements in a range of factors. */
static range_t matrices_in(const psgd_narrow_t *n, range_t factors)
{
    if (length(factors) == 0) {
        return (range_t){0, 0};
    }
    return (range_t){matrix_at(n, factors.begin), matrix_at(n, factors.end - 1) + 1};
}

static size_t padded(size_t bytes)
{
    return (size_t)psgd_round_up(bytes, ALIGNMENT_BYTES);
}

static size_t exponent_bytes(const psgd_narrow_t *n, range_t factors, bool is_narrow)
{
    return is_narrow && (n->dtype == PSGD_F16) ? padded(length(matrices_in(n, factors))) : 0;
}

static size_t factor_bytes(range_t factors, bool is_narrow)
{
    return padded(length(factors) * (is_narrow ? sizeof(uint16_t) : sizeof(float)));
}

/* What a segment takes. */
static size_t segment_bytes(const psgd_narrow_t *n, uint32_t segment, bool is_narrow)
{
    range_t factors = segment_of(n, n->factor_elems, segment);
    range_t rest    = segment_of(n, n->rest_elems, segment);

    return exponent_bytes(n, factors, is_narrow) + factor_bytes(factors, is_narrow) +
           (length(rest) + n->vote_elems) * sizeof(float);
}

/* ---- factors in 16 bits ---- */

static float largest_of(const float *values, size_t count)
{
    float largest = 0.0f;

    for (size_t i = 0; i < count; ++i) {
        largest = fmaxf(largest, fabsf(values[i]));
    }
    return largest;
}

/* What a part of a matrix is divided by, as a power of two; infinities stay what they are. A byte holds it: -126 to 113. */
static int exponent_of(const float *values, size_t count)
{
    float largest = largest_of(values, count);
    int   exponent;

    if ((largest == 0.0f) || !isfinite(largest)) {
        return 0;
    }
    exponent = ilogbf(largest) - LARGEST;
    return exponent < LEAST_EXPONENT ? LEAST_EXPONENT : exponent;
}

/* The part of matrix m in a range of factors. */
static range_t part_of_matrix(const psgd_narrow_t *n, size_t m, range_t factors)
{
    range_t matrix = range_of_matrix(n, m);

    return (range_t){(size_t)psgd_max(matrix.begin, factors.begin), (size_t)psgd_min(matrix.end, factors.end)};
}

/* values, those of the range alone, to `to`; rounded[i] becomes what will be read there. Returns what comes behind. */
static char *encode_factors(const psgd_narrow_t *n, range_t factors, const float *values, char *to, float *rounded)
{
    range_t   matrices  = matrices_in(n, factors);
    int8_t   *exponents = (int8_t *)to;
    uint16_t *halves    = (uint16_t *)(void *)(to + exponent_bytes(n, factors, true));

    if (n->dtype == PSGD_BF16) {
        psgd_bfloat_encode(values, length(factors), halves);
        psgd_bfloat_decode(halves, length(factors), rounded);
        return (char *)halves + factor_bytes(factors, true);
    }
    for (size_t m = matrices.begin; m < matrices.end; ++m) {
        range_t part     = part_of_matrix(n, m, factors);
        size_t  at       = part.begin - factors.begin;
        int     exponent = exponent_of(values + at, length(part));

        exponents[m - matrices.begin] = (int8_t)exponent;
        psgd_half_encode(values + at, length(part), ldexpf(1.0f, -exponent), halves + at);
        psgd_half_decode(halves + at, length(part), ldexpf(1.0f, exponent), rounded + at);
    }
    return (char *)halves + factor_bytes(factors, true);
}

static const char *decode_factors(const psgd_narrow_t *n, range_t factors, const char *from, float *values)
{
    range_t         matrices  = matrices_in(n, factors);
    const int8_t   *exponents = (const int8_t *)from;
    const uint16_t *halves    = (const uint16_t *)(const void *)(from + exponent_bytes(n, factors, true));

    if (n->dtype == PSGD_BF16) {
        psgd_bfloat_decode(halves, length(factors), values);
        return (const char *)halves + factor_bytes(factors, true);
    }
    for (size_t m = matrices.begin; m < matrices.end; ++m) {
        range_t part = part_of_matrix(n, m, factors);
        size_t  at   = part.begin - factors.begin;

        psgd_half_decode(halves + at, length(part), ldexpf(1.0f, exponents[m - matrices.begin]), values + at);
    }
    return (const char *)halves + factor_bytes(factors, true);
}

/* Copies floats, none being fine. */
static void copy_floats(void *to, const void *from, size_t count)
{
    if (count > 0) {
        memcpy(to, from, count * sizeof(float));
    }
}

/* ---- create and destroy ---- */

/* The most that the exchange of either factor takes. */
static size_t most_bytes(psgd_narrow_t *n, size_t (*bytes_of)(const psgd_narrow_t *, bool), bool is_narrow)
{
    size_t most = 0;

    for (int kind = PSGD_FACTOR_P; kind <= PSGD_FACTOR_Q; ++kind) {
        n->kind         = (psgd_factor_kind_t)kind;
        n->factor_elems = psgd_narrow_factor_elems(n, n->kind);
        most            = (size_t)psgd_max(most, bytes_of(n, is_narrow));
    }
    return most;
}

static size_t all_segments_bytes(const psgd_narrow_t *n, bool is_narrow)
{
    size_t bytes = 0;

    for (uint32_t w = 0; w < n->num_workers; ++w) {
        bytes += segment_bytes(n, w, is_narrow);
    }
    return bytes;
}

static size_t own_segments_bytes(const psgd_narrow_t *n, bool is_narrow)
{
    return n->num_workers * segment_bytes(n, n->own, is_narrow);
}

static psgd_status_t allocate(psgd_narrow_t *n)
{
    const size_t  most_factors = (size_t)psgd_max(n->plan->p_elems, n->plan->q_elems);
    const size_t  most_own     = most_factors / n->num_workers + n->rest_elems / n->num_workers + 2 + n->vote_elems;
    psgd_status_t status;

    status = psgd_alloc(most_bytes(n, all_segments_bytes, true), 1, "factors in 16 bits, sent", &n->send);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(most_bytes(n, own_segments_bytes, true), 1, "factors in 16 bits, received", &n->receive);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(most_bytes(n, all_segments_bytes, false), 1, "the sums of factors", &n->gather);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(3 * (size_t)n->num_workers, sizeof(size_t), "the sizes of segments", &n->send_bytes);
    if (status != PSGD_OK) {
        return status;
    }
    n->receive_bytes = n->send_bytes + n->num_workers;
    n->gather_bytes  = n->receive_bytes + n->num_workers;
    status           = psgd_alloc(most_factors, sizeof(float), "the factors as they were sent", &n->sent);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(most_own, sizeof(float), "the sums of a segment", &n->sums);
    return status == PSGD_OK ? psgd_alloc(most_own, sizeof(float), "a segment", &n->parts) : status;
}

psgd_status_t psgd_narrow_create(const psgd_plan_t *plan, psgd_dtype_t dtype, size_t rest_elems, size_t vote_elems,
                                 const psgd_comm_t *comm, psgd_narrow_t **narrow_p)
{
    psgd_narrow_t *n;
    psgd_status_t  status;

    if ((comm->begin_all_to_all == NULL) || (comm->begin_all_gather == NULL)) {
        return psgd_fail(
            PSGD_ERR_UNSUPPORTED,
            "config.wire asks for factors in 16 bits, but the communicator '%s' has no %s: sums of them are made by "
            "all_to_all and all_gather; use PSGD_F32",
            comm->name, comm->begin_all_to_all == NULL ? "begin_all_to_all" : "begin_all_gather");
    }
    status = psgd_alloc(1, sizeof(*n), "a message in 16 bits", &n);
    if (status != PSGD_OK) {
        return status;
    }
    n->plan        = plan;
    n->dtype       = dtype;
    n->num_workers = comm->num_workers;
    n->own         = comm->worker_index;
    n->vote_elems  = vote_elems;
    n->rest_elems  = rest_elems;
    status         = allocate(n);
    if (status != PSGD_OK) {
        psgd_narrow_destroy(n);
        return status;
    }
    *narrow_p = n;
    return PSGD_OK;
}

void psgd_narrow_destroy(psgd_narrow_t *n)
{
    if (n == NULL) {
        return;
    }
    psgd_free(n->parts);
    psgd_free(n->sums);
    psgd_free(n->sent);
    psgd_free(n->send_bytes);
    psgd_free(n->gather);
    psgd_free(n->receive);
    psgd_free(n->send);
    psgd_free(n);
}

/* ---- an exchange ---- */

psgd_status_t psgd_narrow_begin(psgd_narrow_t *n, psgd_factor_kind_t kind, bool comes_back_narrow, const float *payload,
                                size_t rest_elems, const float *vote, const psgd_comm_t *comm,
                                psgd_request_t **request_p)
{
    char *to = n->send;

    n->kind              = kind;
    n->comes_back_narrow = comes_back_narrow;
    n->factor_elems      = psgd_narrow_factor_elems(n, kind);
    n->rest_elems        = rest_elems;
    for (uint32_t w = 0; w < n->num_workers; ++w) {
        range_t factors = segment_of(n, n->factor_elems, w);
        range_t rest    = segment_of(n, n->rest_elems, w);

        to = encode_factors(n, factors, payload + factors.begin, to, n->sent + factors.begin);
        copy_floats(to, payload + n->factor_elems + rest.begin, length(rest));
        to += length(rest) * sizeof(float);
        copy_floats(to, vote, n->vote_elems);
        to += n->vote_elems * sizeof(float);
        n->send_bytes[w]    = segment_bytes(n, w, true);
        n->receive_bytes[w] = segment_bytes(n, n->own, true);
    }
    return psgd_comm_result(
        comm, comm->begin_all_to_all(comm->self, n->send, n->send_bytes, n->receive, n->receive_bytes, request_p));
}

/* The own segment of all workers, added up in their order, into n->sums. */
static void add_up(psgd_narrow_t *n)
{
    range_t factors = segment_of(n, n->factor_elems, n->own);
    size_t  others  = length(segment_of(n, n->rest_elems, n->own)) + n->vote_elems;

    for (uint32_t w = 0; w < n->num_workers; ++w) {
        float      *part = w == 0 ? n->sums : n->parts;
        const char *from = decode_factors(n, factors, n->receive + w * n->receive_bytes[w], part);

        copy_floats(part + length(factors), from, others);
        for (size_t i = 0; (w > 0) && (i < length(factors) + others); ++i) {
            n->sums[i] += part[i];
        }
    }
}

psgd_status_t psgd_narrow_continue(psgd_narrow_t *n, const psgd_comm_t *comm, psgd_request_t **request_p)
{
    range_t factors = segment_of(n, n->factor_elems, n->own);
    size_t  others  = length(segment_of(n, n->rest_elems, n->own)) + n->vote_elems;
    char   *to      = n->gather;

    add_up(n);
    for (uint32_t w = 0; w < n->num_workers; ++w) {
        n->gather_bytes[w] = segment_bytes(n, w, n->comes_back_narrow);
        to += w < n->own ? n->gather_bytes[w] : 0;
    }
    if (n->comes_back_narrow) {
        float *rounded = n->parts;

        to = encode_factors(n, factors, n->sums, to, rounded);
        for (size_t i = 0; i < length(factors); ++i) { /* the difference is exact */
            n->sent[factors.begin + i] -= n->sums[i] - rounded[i];
        }
    } else {
        copy_floats(to, n->sums, length(factors));
        to += factor_bytes(factors, false);
    }
    copy_floats(to, n->sums + length(factors), others);
    return psgd_comm_result(comm, comm->begin_all_gather(comm->self, n->gather, n->gather_bytes, request_p));
}

void psgd_narrow_end(psgd_narrow_t *n, float *payload, float *vote)
{
    const char *from = n->gather;

    for (uint32_t w = 0; w < n->num_workers; ++w) {
        range_t factors = segment_of(n, n->factor_elems, w);
        range_t rest    = segment_of(n, n->rest_elems, w);

        if (n->comes_back_narrow) {
            from = decode_factors(n, factors, from, payload + factors.begin);
        } else {
            copy_floats(payload + factors.begin, from, length(factors));
            from += factor_bytes(factors, false);
        }
        copy_floats(payload + n->factor_elems + rest.begin, from, length(rest));
        from += length(rest) * sizeof(float);
        copy_floats(vote, from, n->vote_elems); /* of all owners the same */
        from += n->vote_elems * sizeof(float);
    }
}

const float *psgd_narrow_sent(const psgd_narrow_t *n)
{
    return n->sent;
}

uint64_t psgd_narrow_bytes(const psgd_narrow_t *n)
{
    return ((uint64_t)all_segments_bytes(n, true) + (uint64_t)all_segments_bytes(n, n->comes_back_narrow)) / 2;
}
