#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gradients.h"
#include "reference.h"
#include "verify.h"

enum { NUM_PROBES = 2, NUM_SAMPLED_ROWS = 8 };

double compare_cost(const psgd_tensor_plan_t *plan)
{
    return COMPARE_STEPS * reference_cost((size_t)plan->rows, (size_t)plan->cols, plan->rank) +
           COMPARE_STEPS * 2.0 * (double)plan->elems * (double)plan->rank;
}

/* Adds the mean over the workers of their gradients in a step to values[0 .. elems). */
static void add_mean(const compare_job_t *job, uint64_t step, double *values)
{
    double share = job->gradient_scale / (double)job->num_workers;

    for (uint32_t w = 0; w < job->num_workers; ++w) {
        uint32_t key = gradients_key(w, step);

        for (uint64_t i = 0; i < job->plan->elems; ++i) {
            values[i] += share * (double)gradients_value(key, job->first + i);
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
                     job->name, step + 1, found, bound);
}

static double probe_bound(const compare_job_t *job)
{
    return VERIFY_PROBE_BOUND + job->allowance;
}

tool_status_t compare_plain(const compare_job_t *job, double *deviation)
{
    double       *mean   = NULL;
    tool_status_t status = tool_alloc((size_t)job->plan->elems, sizeof(*mean), "the means of a tensor", &mean);

    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        double found;

        memset(mean, 0, (size_t)job->plan->elems * sizeof(*mean));
        add_mean(job, (uint64_t)step, mean);
        found      = deviation_of(job->updates[step], mean, (size_t)job->plan->elems,
                                  job->gradient_scale); /* each is below 1 before it is scaled */
        *deviation = larger(*deviation, found);
        status     = judge(job, step, "the mean", found, VERIFY_BOUND);
    }
    free(mean);
    return status;
}

/* The reference's next step, and its update row by row against the library's. */
static tool_status_t compare_step(const compare_job_t *job, int step, reference_t *r, double *row, double *deviation)
{
    double scale = largest_magnitude(r->m, r->rows * r->cols);
    double found = 0.0;

    reference_step(r);
    for (size_t i = 0; i < r->rows; ++i) {
        reference_update_row(r, i, row);
        found = larger(found, deviation_of(job->updates[step] + i * r->cols, row, r->cols, scale));
    }
    *deviation = larger(*deviation, found);
    return judge(job, step, "the update", found, VERIFY_BOUND + job->allowance);
}

tool_status_t compare_matrix(const compare_job_t *job, double *deviation)
{
    reference_t   r      = {0};
    double       *row    = NULL;
    tool_status_t status = reference_create((size_t)job->plan->rows, (size_t)job->plan->cols, job->plan->rank,
                                            job->half_iterations, &r);

    if (status == TOOL_OK) {
        status = tool_alloc(r.cols, sizeof(*row), "a row of the update", &row);
    }
    for (size_t i = 0; status == TOOL_OK && i < (job->half_iterations > 0 ? r.rows : r.cols) * r.rank; ++i) {
        *(job->half_iterations > 0 ? &r.p[i] : &r.q[i]) = (double)job->factors[0][i];
    }
    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        if (step > 0 && job->has_error_feedback) {
            reference_leave_error(&r, row);
        } else {
            memset(r.m, 0, r.rows * r.cols * sizeof(*r.m));
        }
        add_mean(job, (uint64_t)step, r.m);
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

static tool_status_t create_probe(const psgd_tensor_plan_t *plan, probe_t *probe)
{
    tool_status_t status;

    *probe = (probe_t){(size_t)plan->rows, (size_t)plan->cols, plan->rank, NULL, NULL, NULL};
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
            p->d[j] += (double)job->factors[step][j * p->rank + k] * (double)gradients_value(key, k);
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
        q[i] = (double)job->factors[step + 1][i];
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

    if (job->half_iterations > 0) {
        return job->half_iterations > 2
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
    if (status == TOOL_OK && cost <= *budget) {
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
    tool_status_t status = create_probe(job->plan, &probe);

    for (int step = 0; step < COMPARE_STEPS && status == TOOL_OK; ++step) {
        for (size_t i = 0; i < probe.rows * probe.cols; ++i) { /* what the step before has left */
            probe.m[i] = step > 0 && job->has_error_feedback ? probe.m[i] - (double)job->updates[step - 1][i] : 0.0;
        }
        add_mean(job, (uint64_t)step, probe.m);
        status = probe_step(job, step, &probe, budget);
    }
    destroy_probe(&probe);
    return status;
}
