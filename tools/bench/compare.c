#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gradients.h"
#include "reference.h"
#include "verify.h"

enum { NUM_PROBES = 2, NUM_SAMPLED_ROWS = 8 };

double compare_cost(const item_t *item)
{
    return COMPARE_STEPS * reference_cost((size_t)item->rows, (size_t)item->cols, item->rank) +
           COMPARE_STEPS * 2.0 * (double)item_elems(item) * (double)item->rank;
}

/* What the library multiplies gradients by: the option as it was passed on. */
static double gradient_scale(const compare_job_t *job)
{
    return (double)(float)job->options->gradient_scale;
}

/* Adds share * the gradients with this key of one piece, whose first element is values[0]. */
static void add_piece(const compare_job_t *job, const item_piece_t *piece, uint32_t key, double share, double *values)
{
    const psgd_dtype_t dtype = (psgd_dtype_t)job->options->gradient_dtype;

    for (uint64_t i = 0; i < piece->elems; ++i) {
        values[i] += share * (double)gradients_value_of(dtype, key, item_place(job->item, piece, i));
    }
}

/* Adds the mean over the workers of their gradients in a step to the item's elements. */
static void add_mean(const compare_job_t *job, uint64_t step, double *values)
{
    const double share = gradient_scale(job) / (double)job->num_workers;

    for (uint32_t w = 0; w < job->num_workers; ++w) {
        const uint32_t key = gradients_key(w, step);
        uint64_t       at  = 0;

        for (size_t i = 0; i < job->item->num_pieces; ++i) {
            const item_piece_t *piece = &job->item->pieces[i];

            if (options_has_gradient(job->options, w, piece->tensor)) {
                add_piece(job, piece, key, share, values + at);
            }
            at += piece->elems;
        }
    }
}

static double larger(double a, double b)
{
    return isnan(b) || (b > a) ? b : a; /* NaN stays: it is the largest deviation there is */
}

static double largest_magnitude(const double *values, size_t count)
{
    double largest = 0.0;

    for (size_t i = 0; i < count; ++i) {
        largest = larger(largest, fabs(values[i]));
    }
    return largest;
}

/* max |got - expected| / scale */
static double deviation_of(const float *got, const double *expected, size_t count, double scale)
{
    double worst = 0.0;

    for (size_t i = 0; i < count; ++i) {
        worst = larger(worst, fabs((double)got[i] - expected[i]) / scale);
    }
    return worst;
}

/* TOOL_WRONG where `found` is beyond `bound`, or NaN. */
static tool_status_t judge(const compare_job_t *job, int step, const char *what, double found, double bound)
{
    if (found <= bound) {
        return TOOL_OK;
    }
    return tool_fail(TOOL_WRONG, "wrong results: %s of %s in step %d deviates by %.2e, and %.0e is allowed", what,
                     job->item->name, step + 1, found, bound);
}

static double probe_bound(const compare_job_t *job)
{
    return VERIFY_PROBE_BOUND + job->rounding + job->allowance;
}

static bool is_plain_step(const compare_job_t *job, int step)
{
    return (uint64_t)step < job->options->start_step;
}

/* Whether the step works on what the one before has left out. */
static bool has_error(const compare_job_t *job, int step)
{
    return job->options->error_feedback != 0 && step > 0 && !is_plain_step(job, step - 1);
}

/* A step that averages: mean is room for the item's elements. */
static tool_status_t compare_plain_step(const compare_job_t *job, int step, double *mean, double *deviation)
{
    const size_t elems = (size_t)item_elems(job->item);
    double       found;

    memset(mean, 0, elems * sizeof(*mean));
    add_mean(job, (uint64_t)step, mean);
    found =
        deviation_of(job->updates[step], mean, elems, gradient_scale(job)); /* each is below 1 before it is scaled */
    *deviation = larger(*deviation, found);
    return judge(job, step, "the mean", found, VERIFY_BOUND + job->rounding);
}

tool_status_t compare_plain(const compare_job_t *job, double *deviation)
{
    double       *mean   = NULL;
    tool_status_t status = tool_alloc((size_t)item_elems(job->item), sizeof(*mean), "the means of a tensor", &mean);

    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        status = compare_plain_step(job, step, mean, deviation);
    }
    free(mean);
    return status;
}

/* How many elements of row i belong to tensors: what fills up a flattened gradient has an update too, which nobody sees. */
static size_t filled_in_row(const item_t *item, size_t i)
{
    const uint64_t filled = item_filled_elems(item), before = (uint64_t)i * item->cols;

    return before >= filled ? 0 : (size_t)(filled - before < item->cols ? filled - before : item->cols);
}

/* The reference's next step, and its update row by row against the library's. */
static tool_status_t compare_step(const compare_job_t *job, int step, reference_t *r, double *row, double *deviation)
{
    double scale = largest_magnitude(r->m, r->rows * r->cols);
    double found = 0.0;

    if (scale == 0.0) { /* no worker has a gradient: the factors are arbitrary, and the update is zero */
        found      = deviation_of(job->updates[step], r->m, r->rows * r->cols, gradient_scale(job));
        *deviation = larger(*deviation, found);
        return judge(job, step, "the update", found, VERIFY_BOUND);
    }
    reference_step(r);
    for (size_t i = 0; i < r->rows; ++i) {
        reference_update_row(r, i, row);
        found = larger(found, deviation_of(job->updates[step] + i * r->cols, row, filled_in_row(job->item, i), scale));
    }
    *deviation = larger(*deviation, found);
    return judge(job, step, "the update", found, VERIFY_BOUND + job->rounding + job->allowance);
}

/* The factor that the library's step started from, where it is not the one that the reference's last step has left. */
static void take_factor(const compare_job_t *job, int step, reference_t *r)
{
    const bool is_p = r->half_iterations > 0 && r->halves_done % 2 == 0;

    if ((uint64_t)step != job->options->start_step && job->options->warm_start != 0) {
        return;
    }
    for (size_t i = 0; i < (is_p ? r->rows : r->cols) * r->rank; ++i) {
        *(is_p ? &r->p[i] : &r->q[i]) = (double)job->before[step][i];
    }
}

tool_status_t compare_matrix(const compare_job_t *job, double *deviation)
{
    reference_t   r      = {0};
    double       *row    = NULL;
    tool_status_t status = reference_create((size_t)job->item->rows, (size_t)job->item->cols, job->item->rank,
                                            job->options->half_iterations, &r);

    if (status == TOOL_OK) {
        status = tool_alloc(r.cols, sizeof(*row), "a row of the update", &row);
    }
    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        if (is_plain_step(job, step)) {
            status = compare_plain_step(job, step, r.m, deviation);
            continue;
        }
        if (has_error(job, step)) {
            reference_leave_error(&r, row);
        } else {
            memset(r.m, 0, r.rows * r.cols * sizeof(*r.m));
        }
        add_mean(job, (uint64_t)step, r.m);
        take_factor(job, step, &r);
        status = compare_step(job, step, &r, row, deviation);
    }
    free(row);
    reference_destroy(&r);
    return status;
}

/* ---- projections ---- */

/* M of one step, and room for vectors of it. */
typedef struct probe {
    size_t  rows, cols, rank;
    double *m; /* rows x cols */
    double *v; /* rows */
    double *d; /* cols */
} probe_t;

static tool_status_t create_probe(const item_t *item, probe_t *probe)
{
    tool_status_t status;

    *probe = (probe_t){(size_t)item->rows, (size_t)item->cols, item->rank, NULL, NULL, NULL};
    status = tool_alloc(probe->rows * probe->cols, sizeof(double), "a matrix on the host", &probe->m);
    if (status == TOOL_OK) {
        status = tool_alloc(probe->rows, sizeof(double), "a column of a matrix", &probe->v);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(probe->cols, sizeof(double), "a row of a matrix", &probe->d);
    }
    return status;
}

static void destroy_probe(probe_t *probe)
{
    free(probe->m);
    free(probe->v);
    free(probe->d);
}

/* v = M Q z of length 1, for a random z. */
static void draw_direction(const compare_job_t *job, int step, unsigned number, probe_t *p)
{
    uint32_t key    = gradients_key(number, UINT64_MAX - 1);
    double   square = 0.0;

    for (size_t j = 0; j < p->cols; ++j) {
        p->d[j] = 0.0;
        for (size_t k = 0; k < p->rank; ++k) {
            p->d[j] += (double)job->before[step][j * p->rank + k] * (double)gradients_value(key, k);
        }
    }
    for (size_t i = 0; i < p->rows; ++i) {
        p->v[i] = 0.0;
        for (size_t j = 0; j < p->cols; ++j) {
            p->v[i] += p->m[i * p->cols + j] * p->d[j];
        }
        square += p->v[i] * p->v[i];
    }
    for (size_t i = 0; i < p->rows; ++i) {
        p->v[i] /= sqrt(square);
    }
}

/* max |(M - U)^T v| over the columns, relative to the largest element of M */
static double rest_along_v(const compare_job_t *job, int step, probe_t *p)
{
    const float *update = job->updates[step];

    memset(p->d, 0, p->cols * sizeof(*p->d));
    for (size_t i = 0; i < p->rows; ++i) {
        for (size_t j = 0; j < p->cols; ++j) {
            p->d[j] += (p->m[i * p->cols + j] - (double)update[i * p->cols + j]) * p->v[i];
        }
    }
    return largest_magnitude(p->d, p->cols) / largest_magnitude(p->m, p->rows * p->cols);
}

/* |<M - U, U>| / <U, U> */
static double rest_along_update(const compare_job_t *job, int step, const probe_t *p)
{
    double along = 0.0, square = 0.0;

    for (size_t i = 0; i < p->rows * p->cols; ++i) {
        double u = (double)job->updates[step][i];

        along += (p->m[i] - u) * u;
        square += u * u;
    }
    return fabs(along) / square; /* NaN where U is 0: that is wrong too */
}

/* For some rows u of U: max |u - Q^ (Q^T u)|, Q^ an orthonormal basis of the columns of Q, relative to the largest
 * element of M. */
static tool_status_t rows_outside_span(const compare_job_t *job, int step, const probe_t *p, double *found_p)
{
    double       *q      = NULL;
    double        found  = 0.0;
    tool_status_t status = tool_alloc(p->cols * p->rank, sizeof(*q), "a basis of Q", &q);

    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < p->cols * p->rank; ++i) {
        q[i] = (double)job->after[step][i];
    }
    reference_orthonormalize(q, p->cols, p->rank);
    for (size_t sample = 0; sample < NUM_SAMPLED_ROWS; ++sample) {
        const float *u                    = job->updates[step] + p->rows * sample / NUM_SAMPLED_ROWS * p->cols;
        double       along[PSGD_MAX_RANK] = {0.0};

        for (size_t j = 0; j < p->cols; ++j) {
            for (size_t k = 0; k < p->rank; ++k) {
                along[k] += (double)u[j] * q[j * p->rank + k];
            }
        }
        for (size_t j = 0; j < p->cols; ++j) {
            double rest = (double)u[j];

            for (size_t k = 0; k < p->rank; ++k) {
                rest -= along[k] * q[j * p->rank + k];
            }
            found = larger(found, fabs(rest));
        }
    }
    free(q);
    *found_p = found / largest_magnitude(p->m, p->rows * p->cols);
    return TOOL_OK;
}

static tool_status_t probe_step(const compare_job_t *job, int step, probe_t *p, double *budget)
{
    double        cost   = 2.0 * (double)p->cols * (double)p->rank * (double)p->rank;
    double        found  = 0.0;
    tool_status_t status = TOOL_OK;

    if (largest_magnitude(p->m, p->rows * p->cols) == 0.0) { /* no worker has a gradient */
        found = deviation_of(job->updates[step], p->m, p->rows * p->cols, gradient_scale(job));
        return judge(job, step, "the update", found, VERIFY_BOUND);
    }
    if (job->options->half_iterations > 0) {
        return job->options->half_iterations > 2
                   ? TOOL_OK
                   : judge(job, step, "the rest along the update", rest_along_update(job, step, p), probe_bound(job));
    }
    for (unsigned number = 0; number < NUM_PROBES; ++number) {
        draw_direction(job, step, number, p);
        found = larger(found, rest_along_v(job, step, p));
    }
    status = judge(job, step, "the rest along M Q", found, probe_bound(job));
    if (status == TOOL_OK) {
        status = judge(job, step, "the rest along the update", rest_along_update(job, step, p), probe_bound(job));
    }
    if (status == TOOL_OK && job->after[step] != NULL && cost <= *budget) {
        *budget -= cost;
        status = rows_outside_span(job, step, p, &found);
        if (status == TOOL_OK) {
            status = judge(job, step, "the span of the rows of the update", found, probe_bound(job));
        }
    }
    return status;
}

tool_status_t compare_by_probes(const compare_job_t *job, double *budget)
{
    probe_t       probe;
    tool_status_t status = create_probe(job->item, &probe);

    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        double deviation = 0.0;

        if (is_plain_step(job, step)) {
            status = compare_plain_step(job, step, probe.m, &deviation);
            continue;
        }
        for (size_t i = 0; i < probe.rows * probe.cols; ++i) { /* what the step before has left */
            probe.m[i] = has_error(job, step) ? probe.m[i] - (double)job->updates[step - 1][i] : 0.0;
        }
        add_mean(job, (uint64_t)step, probe.m);
        status = probe_step(job, step, &probe, budget);
    }
    destroy_probe(&probe);
    return status;
}
