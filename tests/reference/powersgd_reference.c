#include "reference/powersgd_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A column of which less than this remains, relative to itself, lay in the span of those before it. */
static const double VANISHED = 1e-13;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- small dense algebra, row-major ------------------------------------------------------------------------------- */

/* out (rows x r) = M (rows x cols) Q (cols x r) */
static void multiply(const double *m, const double *q, uint64_t rows, uint64_t cols, uint32_t r, double *out)
{
    for (uint64_t i = 0; i < rows; ++i) {
        for (uint32_t k = 0; k < r; ++k) {
            double sum = 0.0;

            for (uint64_t j = 0; j < cols; ++j) {
                sum += m[i * cols + j] * q[j * r + k];
            }
            out[i * r + k] = sum;
        }
    }
}

/* out (cols x r) = M^T (cols x rows) P (rows x r) */
static void multiply_transposed(const double *m, const double *p, uint64_t rows, uint64_t cols, uint32_t r, double *out)
{
    memset(out, 0, cols * r * sizeof(*out));
    for (uint64_t i = 0; i < rows; ++i) {
        for (uint64_t j = 0; j < cols; ++j) {
            for (uint32_t k = 0; k < r; ++k) {
                out[j * r + k] += m[i * cols + j] * p[i * r + k];
            }
        }
    }
}

/* out (rows x cols) += sign P Q^T */
static void add_product(const double *p, const double *q, uint64_t rows, uint64_t cols, uint32_t r, double sign,
                        double *out)
{
    for (uint64_t i = 0; i < rows; ++i) {
        for (uint64_t j = 0; j < cols; ++j) {
            double sum = 0.0;

            for (uint32_t k = 0; k < r; ++k) {
                sum += p[i * r + k] * q[j * r + k];
            }
            out[i * cols + j] += sign * sum;
        }
    }
}

/* out += a / num_workers */
static void add_share(const double *a, uint64_t count, uint32_t num_workers, double *out)
{
    for (uint64_t i = 0; i < count; ++i) {
        out[i] += a[i] / num_workers;
    }
}

static double column_norm(const double *a, uint64_t length, uint32_t columns, uint32_t column)
{
    double scale = 0.0, sum = 0.0;

    for (uint64_t i = 0; i < length; ++i) {
        scale = fmax(scale, fabs(a[i * columns + column]));
    }
    if (scale == 0.0) {
        return 0.0;
    }
    for (uint64_t i = 0; i < length; ++i) {
        double x = a[i * columns + column] / scale;

        sum += x * x;
    }
    return scale * sqrt(sum);
}

static void scale_column(double *a, uint64_t length, uint32_t columns, uint32_t column, double divisor)
{
    for (uint64_t i = 0; i < length; ++i) {
        a[i * columns + column] /= divisor;
    }
}

/* Takes from column `column` its components along the (orthonormal) columns before it. */
static void project_out(double *a, uint64_t length, uint32_t columns, uint32_t column)
{
    for (uint32_t before = 0; before < column; ++before) {
        double dot = 0.0;

        for (uint64_t i = 0; i < length; ++i) {
            dot += a[i * columns + before] * a[i * columns + column];
        }
        for (uint64_t i = 0; i < length; ++i) {
            a[i * columns + column] -= dot * a[i * columns + before];
        }
    }
}

/* The unit vector e_i that is farthest from the columns before: its squared distance is 1 - sum_k a[i][k]^2. */
static void replace_column(double *a, uint64_t length, uint32_t columns, uint32_t column)
{
    uint64_t best          = 0;
    double   best_distance = -1.0;

    for (uint64_t i = 0; i < length; ++i) {
        double distance = 1.0;

        for (uint32_t k = 0; k < column; ++k) {
            distance -= a[i * columns + k] * a[i * columns + k];
        }
        if (distance > best_distance) {
            best_distance = distance;
            best          = i;
        }
    }
    for (uint64_t i = 0; i < length; ++i) {
        a[i * columns + column] = (i == best) ? 1.0 : 0.0;
    }
}

void reference_orthonormalize(double *a, uint64_t length, uint32_t columns)
{
    for (uint32_t column = 0; column < columns; ++column) {
        double norm = column_norm(a, length, columns, column);

        if (norm > 0.0) {
            scale_column(a, length, columns, column, norm);
            project_out(a, length, columns, column);
        }
        if ((norm == 0.0) || (column_norm(a, length, columns, column) < VANISHED)) {
            replace_column(a, length, columns, column);
            project_out(a, length, columns, column);
        }
        scale_column(a, length, columns, column, column_norm(a, length, columns, column));
        project_out(a, length, columns, column);
        scale_column(a, length, columns, column, column_norm(a, length, columns, column));
    }
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

/* Matricize: dim 0 by the product of the others. */
static void matricize(const reference_shape_t *shape, reference_tensor_t *tensor)
{
    tensor->rows = shape->dims[0];
    tensor->cols = 1;
    for (uint32_t d = 1; d < shape->num_dims; ++d) {
        tensor->cols *= shape->dims[d];
    }
    tensor->elems = tensor->rows * tensor->cols;
}

/* r_eff = min(r, rows, cols) where (rows + cols) * r_eff * min_compression_rate < rows * cols; else 0. */
static uint32_t decide_rank(const reference_shape_t *shape, const reference_tensor_t *tensor,
                            const reference_options_t *options)
{
    uint32_t rank  = (shape->rank == 0) ? options->rank : (uint32_t)shape->rank;
    uint64_t r_eff = min_u64(rank, min_u64(tensor->rows, tensor->cols));
    bool     saves;

    if ((shape->rank == REFERENCE_NEVER_COMPRESS) || (shape->num_dims < 2)) {
        return 0;
    }
    saves = (double)((tensor->rows + tensor->cols) * r_eff) * options->min_compression_rate <
            (double)(tensor->rows * tensor->cols);
    return saves ? (uint32_t)r_eff : 0;
}

static double *zeros(uint64_t count)
{
    return calloc(count != 0 ? count : 1, sizeof(double));
}

reference_t *reference_create(const reference_shape_t *shapes, size_t num_shapes, const reference_options_t *options)
{
    reference_t *reference = calloc(1, sizeof(*reference));
    bool         complete  = true;

    if (reference == NULL) {
        return NULL;
    }
    reference->options     = *options;
    reference->num_tensors = num_shapes;
    reference->tensors     = calloc(num_shapes, sizeof(*reference->tensors));
    reference->errors      = calloc(options->num_workers, sizeof(*reference->errors));
    if ((reference->tensors == NULL) || (reference->errors == NULL)) {
        reference_destroy(reference);
        return NULL;
    }
    for (size_t t = 0; t < num_shapes; ++t) {
        reference_tensor_t *tensor = &reference->tensors[t];

        matricize(&shapes[t], tensor);
        tensor->r            = decide_rank(&shapes[t], tensor, options);
        tensor->offset_elems = reference->total_elems;
        tensor->p            = zeros(tensor->rows * tensor->r);
        tensor->q            = zeros(tensor->cols * tensor->r);
        reference->total_elems += tensor->elems;
        complete = complete && (tensor->p != NULL) && (tensor->q != NULL);
    }
    for (uint32_t w = 0; w < options->num_workers; ++w) {
        reference->errors[w] = zeros(reference->total_elems);
        complete             = complete && (reference->errors[w] != NULL);
    }
    if (!complete) {
        reference_destroy(reference);
        return NULL;
    }
    return reference;
}

void reference_destroy(reference_t *reference)
{
    if (reference == NULL) {
        return;
    }
    for (size_t t = 0; (reference->tensors != NULL) && (t < reference->num_tensors); ++t) {
        free(reference->tensors[t].p);
        free(reference->tensors[t].q);
    }
    for (uint32_t w = 0; (reference->errors != NULL) && (w < reference->options.num_workers); ++w) {
        free(reference->errors[w]);
    }
    free(reference->tensors);
    free(reference->errors);
    free(reference);
}

void reference_set_q(reference_t *reference, size_t tensor_index, const double *q)
{
    reference_tensor_t *tensor = &reference->tensors[tensor_index];

    memcpy(tensor->q, q, tensor->cols * tensor->r * sizeof(*q));
}

void reference_set_p(reference_t *reference, size_t tensor_index, const double *p)
{
    reference_tensor_t *tensor = &reference->tensors[tensor_index];

    memcpy(tensor->p, p, tensor->rows * tensor->r * sizeof(*p));
}

/* --- a step ------------------------------------------------------------------------------------------------------- */

/* Needs of one matrix while it is compressed; m and q_local by worker. */
typedef struct scratch {
    double **m;       /* M_w, then what is left of it: rows x cols */
    double  *p_local; /* P_w: rows x r */
    double  *q_local; /* Q_w: cols x r */
} scratch_t;

/* The full iteration of one matrix. M_w becomes e_w. */
static void iterate_full(reference_t *reference, reference_tensor_t *tensor, scratch_t *scratch, double *update)
{
    uint32_t num_workers = reference->options.num_workers;
    uint64_t rows = tensor->rows, cols = tensor->cols;
    uint32_t r = tensor->r;

    /* P = mean_w(M_w orthonormalize(Q)) */
    reference_orthonormalize(tensor->q, cols, r);
    memset(tensor->p, 0, rows * r * sizeof(double));
    for (uint32_t w = 0; w < num_workers; ++w) {
        multiply(scratch->m[w], tensor->q, rows, cols, r, scratch->p_local);
        add_share(scratch->p_local, rows * r, num_workers, tensor->p);
    }

    /* P^ = orthonormalize(P) */
    reference_orthonormalize(tensor->p, rows, r);

    /* Q_w = M_w^T P^;  Q = mean_w(Q_w);  the local error: e_w = M_w - P^ Q_w^T */
    memset(tensor->q, 0, cols * r * sizeof(double));
    for (uint32_t w = 0; w < num_workers; ++w) {
        multiply_transposed(scratch->m[w], tensor->p, rows, cols, r, scratch->q_local);
        add_share(scratch->q_local, cols * r, num_workers, tensor->q);
        if (!reference->options.averaged_error) {
            add_product(tensor->p, scratch->q_local, rows, cols, r, -1.0, scratch->m[w]);
        }
    }

    /* update = P^ Q^T */
    add_product(tensor->p, tensor->q, rows, cols, r, 1.0, update);

    /* the averaged error: e_w = M_w - update */
    for (uint32_t w = 0; (w < num_workers) && reference->options.averaged_error; ++w) {
        add_product(tensor->p, tensor->q, rows, cols, r, -1.0, scratch->m[w]);
    }
}

/* One half-iteration of one matrix: Q from P, or P from Q. What it sends leaves M_w. */
static void iterate_half(reference_t *reference, reference_tensor_t *tensor, scratch_t *scratch, bool computes_q,
                         double *update)
{
    uint32_t num_workers = reference->options.num_workers;
    uint64_t rows = tensor->rows, cols = tensor->cols;
    uint32_t r = tensor->r;

    if (computes_q) {
        reference_orthonormalize(tensor->p, rows, r);
        memset(tensor->q, 0, cols * r * sizeof(double));
        for (uint32_t w = 0; w < num_workers; ++w) {
            multiply_transposed(scratch->m[w], tensor->p, rows, cols, r, scratch->q_local);
            add_product(tensor->p, scratch->q_local, rows, cols, r, -1.0, scratch->m[w]);
            add_share(scratch->q_local, cols * r, num_workers, tensor->q);
        }
    } else {
        reference_orthonormalize(tensor->q, cols, r);
        memset(tensor->p, 0, rows * r * sizeof(double));
        for (uint32_t w = 0; w < num_workers; ++w) {
            multiply(scratch->m[w], tensor->q, rows, cols, r, scratch->p_local);
            add_product(scratch->p_local, tensor->q, rows, cols, r, -1.0, scratch->m[w]);
            add_share(scratch->p_local, rows * r, num_workers, tensor->p);
        }
    }
    add_product(tensor->p, tensor->q, rows, cols, r, 1.0, update);
}

/* M_w = g_w + e_w in place of the error; afterwards e_w = what is left. `update` comes in as zero. */
static void step_matrix(reference_t *reference, reference_tensor_t *tensor, const double *const *grads,
                        scratch_t *scratch, double *update)
{
    for (uint32_t w = 0; w < reference->options.num_workers; ++w) {
        scratch->m[w] = &reference->errors[w][tensor->offset_elems];
        for (uint64_t i = 0; i < tensor->elems; ++i) {
            scratch->m[w][i] += grads[w][tensor->offset_elems + i];
        }
    }

    if (reference->options.half_iterations == 0) {
        iterate_full(reference, tensor, scratch, update);
    }
    for (uint32_t h = 0; h < reference->options.half_iterations; ++h) {
        bool computes_q = (reference->half_iterations_done + h) % 2 == 0;

        iterate_half(reference, tensor, scratch, computes_q, update);
    }

    for (uint32_t w = 0; (w < reference->options.num_workers) && !reference->options.error_feedback; ++w) {
        memset(scratch->m[w], 0, tensor->elems * sizeof(double));
    }
}

/* update = mean_w(g_w) */
static void average_tensor(const reference_t *reference, const reference_tensor_t *tensor, const double *const *grads,
                           double *update)
{
    for (uint32_t w = 0; w < reference->options.num_workers; ++w) {
        add_share(&grads[w][tensor->offset_elems], tensor->elems, reference->options.num_workers, update);
    }
}

void reference_step(reference_t *reference, const double *const *grads, double *update)
{
    bool compresses = reference->step >= reference->options.start_step;

    memset(update, 0, reference->total_elems * sizeof(*update));
    for (size_t t = 0; t < reference->num_tensors; ++t) {
        reference_tensor_t *tensor        = &reference->tensors[t];
        double             *tensor_update = &update[tensor->offset_elems];
        scratch_t           scratch;

        if (!compresses || (tensor->r == 0)) {
            average_tensor(reference, tensor, grads, tensor_update);
            continue;
        }
        scratch.m       = calloc(reference->options.num_workers, sizeof(*scratch.m));
        scratch.p_local = zeros(tensor->rows * tensor->r);
        scratch.q_local = zeros(tensor->cols * tensor->r);
        if ((scratch.m == NULL) || (scratch.p_local == NULL) || (scratch.q_local == NULL)) {
            abort(); /* a few kilobytes of test memory: nothing could be tested without them */
        }
        step_matrix(reference, tensor, grads, &scratch, tensor_update);
        free(scratch.m);
        free(scratch.p_local);
        free(scratch.q_local);
    }
    reference->step++;
    if (compresses) {
        reference->half_iterations_done += reference->options.half_iterations;
    }
}

void reference_mean_error(const reference_t *reference, double *out)
{
    memset(out, 0, reference->total_elems * sizeof(*out));
    for (uint32_t w = 0; w < reference->options.num_workers; ++w) {
        add_share(reference->errors[w], reference->total_elems, reference->options.num_workers, out);
    }
}

double reference_difference(const double *a, const double *b, uint64_t count)
{
    double difference = 0.0, size = 0.0;

    for (uint64_t i = 0; i < count; ++i) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return size > 0.0 ? sqrt(difference / size) : sqrt(difference);
}
