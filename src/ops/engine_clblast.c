/* The engine whose matrix products are CLBlast's GEMM. The only file that knows CLBlast.
 *
 *     A   M = g + e               by the kernel of ops/compute_p.h, which leaves out the product
 *         P^T   = Q^^T M^T        (r x rows) = (r x cols)  (cols x rows)    GEMM, M transposed
 *     B   Q_w^T = P^^T M          (r x cols) = (r x rows)  (rows x cols)    GEMM
 *     C   error and update        by the decompression kernel
 *
 * Everything is row-major; the factors lie transposed, as the plan lays them out.
 *
 * CLBlast goes one of two ways: "direct", in one kernel, or, where r * rows * cols reaches a threshold of the device,
 * "indirect": it pads and transposes its operands into temporary memory first. That memory is ours, made once. How much
 * it takes depends on the offsets too: the most is allocated, and each call asks again before it relies on that. */

#include <clblast_c.h>

#include "base/memory.h"
#include "base/process_lock.h"
#include "device/cl_device.h"
#include "ops/compute_p.h"
#include "ops/decompress.h"
#include "ops/engine.h"
#include "ops/matrices.h"

struct psgd_engine_state {
    psgd_device_t       *device;
    psgd_matrices_t      matrices;
    psgd_form_t          form;
    psgd_compute_p_t    *form_m; /* NULL without error feedback, where M is g */
    psgd_decompressor_t *decompressor;
    psgd_view_t          temp; /* of the indirect GEMM; mem NULL where every product is direct */
    size_t               temp_bytes;
};

static const psgd_plan_matrix_t *matrix_of(const psgd_engine_state_t *engine, size_t i)
{
    return &engine->matrices.plan->matrices[engine->matrices.indices[i]];
}

/* ------------------------------------------------------------------------------------------------------------------
 * CLBlast's status
 * ---------------------------------------------------------------------------------------------------------------- */

#define NAMED(name_) \
    { \
        CLBlast##name_, "CLBlast" #name_ \
    }

static const struct {
    CLBlastStatusCode code;
    const char       *name;
} CLBLAST_STATUSES[] = {
    NAMED(OpenCLCompilerNotAvailable),
    NAMED(TempBufferAllocFailure),
    NAMED(OpenCLOutOfResources),
    NAMED(OpenCLOutOfHostMemory),
    NAMED(OpenCLBuildProgramFailure),
    NAMED(InvalidValue),
    NAMED(InvalidCommandQueue),
    NAMED(InvalidMemObject),
    NAMED(InvalidBinary),
    NAMED(InvalidBuildOptions),
    NAMED(InvalidProgram),
    NAMED(InvalidProgramExecutable),
    NAMED(InvalidKernelName),
    NAMED(InvalidKernelDefinition),
    NAMED(InvalidKernel),
    NAMED(InvalidArgIndex),
    NAMED(InvalidArgValue),
    NAMED(InvalidArgSize),
    NAMED(InvalidKernelArgs),
    NAMED(InvalidLocalNumDimensions),
    NAMED(InvalidLocalThreadsTotal),
    NAMED(InvalidLocalThreadsDim),
    NAMED(InvalidGlobalOffset),
    NAMED(InvalidEventWaitList),
    NAMED(InvalidEvent),
    NAMED(InvalidOperation),
    NAMED(InvalidBufferSize),
    NAMED(InvalidGlobalWorkSize),
    NAMED(NotImplemented),
    NAMED(InvalidMatrixA),
    NAMED(InvalidMatrixB),
    NAMED(InvalidMatrixC),
    NAMED(InvalidDimension),
    NAMED(InvalidLeadDimA),
    NAMED(InvalidLeadDimB),
    NAMED(InvalidLeadDimC),
    NAMED(InsufficientMemoryA),
    NAMED(InsufficientMemoryB),
    NAMED(InsufficientMemoryC),
    NAMED(InsufficientMemoryTemp),
    NAMED(InvalidLocalMemUsage),
    NAMED(DatabaseError),
    NAMED(UnknownError),
    NAMED(UnexpectedError),
};

#undef NAMED

static const char *clblast_status_name(CLBlastStatusCode code)
{
    for (size_t i = 0; i < sizeof(CLBLAST_STATUSES) / sizeof(CLBLAST_STATUSES[0]); ++i) {
        if (CLBLAST_STATUSES[i].code == code) {
            return CLBLAST_STATUSES[i].name;
        }
    }
    return "unknown to libpsgd";
}

static psgd_status_t clblast_status_class(CLBlastStatusCode code)
{
    if (code == CLBlastTempBufferAllocFailure || code == CLBlastOpenCLOutOfResources ||
        code == CLBlastInvalidBufferSize) {
        return PSGD_ERR_DEVICE_MEMORY;
    }
    return code == CLBlastOpenCLOutOfHostMemory ? PSGD_ERR_HOST_MEMORY : PSGD_ERR_CLBLAST;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Products
 * ---------------------------------------------------------------------------------------------------------------- */

/* out (r x width) = in (r x depth) * M or M^T (depth x width). */
typedef struct product {
    const psgd_plan_matrix_t *matrix;
    const char               *formula;
    CLBlastTranspose          m_transpose;
    size_t                    width, depth;
} product_t;

/* P^T = Q^^T M^T */
static product_t product_p(const psgd_plan_matrix_t *matrix)
{
    return (product_t){matrix, "P = M Q", CLBlastTransposeYes, (size_t)matrix->rows, (size_t)matrix->cols};
}

/* Q_w^T = P^^T M */
static product_t product_q(const psgd_plan_matrix_t *matrix)
{
    return (product_t){matrix, "Q = M^T P", CLBlastTransposeNo, (size_t)matrix->cols, (size_t)matrix->rows};
}

static psgd_status_t check_clblast(const psgd_engine_state_t *engine, CLBlastStatusCode code, const char *call,
                                   const product_t *product)
{
    if (code == CLBlastSuccess) {
        return PSGD_OK;
    }
    return psgd_fail(clblast_status_class(code), "%s for %s of tensor '%s' (r %u, %zu x %zu) on %s: %s (%d)", call,
                     product->formula, product->matrix->name, product->matrix->r, (size_t)product->matrix->rows,
                     (size_t)product->matrix->cols, psgd_device_limits(engine->device)->name, clblast_status_name(code),
                     (int)code);
}

/* CLBlast's kernels index with 32-bit integers: everything up to the last element that they touch has to fit. */
static psgd_status_t check_extent(const product_t *product, const char *operand, uint64_t offset_elems, uint64_t elems)
{
    if (elems <= INT32_MAX && offset_elems <= INT32_MAX - elems) {
        return PSGD_OK;
    }
    return psgd_fail(PSGD_ERR_UNSUPPORTED,
                     "tensor '%s': %s, %llu elements from element %llu of its buffer on, ends beyond element 2^31 - 1, "
                     "which is as far as CLBlast counts; use a buffer of its own, or split the tensor",
                     product->matrix->name, operand, (unsigned long long)elems, (unsigned long long)offset_elems);
}

static psgd_status_t check_extents(const product_t *product, uint64_t in_offset, uint64_t m_offset, uint64_t out_offset)
{
    const psgd_plan_matrix_t *matrix = product->matrix;
    psgd_status_t             status;

    status = check_extent(product, "its gradient", m_offset, matrix->rows * matrix->cols);
    if (status != PSGD_OK) {
        return status;
    }
    status = check_extent(product, "a factor", in_offset, (uint64_t)matrix->r * product->depth);
    if (status != PSGD_OK) {
        return status;
    }
    return check_extent(product, "a factor", out_offset, (uint64_t)matrix->r * product->width);
}

/* *bytes_p = the temporary memory that the product takes at these element offsets; 0: it goes direct, or needs none.
 * The lock is held. */
static psgd_status_t query_temp(const psgd_engine_state_t *engine, const product_t *product, size_t in_offset,
                                size_t m_offset, size_t out_offset, size_t *bytes_p)
{
    cl_command_queue  queue = psgd_device_queue(engine->device);
    size_t            bytes = 0;
    CLBlastStatusCode code;

    code =
        CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, CLBlastTransposeNo, product->m_transpose, product->matrix->r,
                                   product->width, product->depth, in_offset, product->depth, m_offset,
                                   (size_t)product->matrix->cols, out_offset, product->width, &queue, &bytes);
    if (code != CLBlastSuccess) {
        return check_clblast(engine, code, "CLBlastSGemmTempBufferSize", product);
    }
    *bytes_p = bytes;
    return PSGD_OK;
}

/* The lock is held. */
static psgd_status_t enqueue_locked(const psgd_engine_state_t *engine, const product_t *product, psgd_view_t in,
                                    psgd_view_t m, psgd_view_t out)
{
    cl_command_queue  queue      = psgd_device_queue(engine->device);
    size_t            in_offset  = in.offset_bytes / sizeof(float);
    size_t            m_offset   = m.offset_bytes / sizeof(float);
    size_t            out_offset = out.offset_bytes / sizeof(float);
    size_t            temp_bytes = 0;
    CLBlastStatusCode code;
    psgd_status_t     status;

    status = query_temp(engine, product, in_offset, m_offset, out_offset, &temp_bytes);
    if (status != PSGD_OK) {
        return status;
    }
    if (temp_bytes > engine->temp_bytes) {
        return psgd_fail(
            PSGD_ERR_CLBLAST,
            "%s of tensor '%s': CLBlast now asks for %zu bytes of temporary memory, and asked for %zu when "
            "the reducer was created; its parameters may not change in between",
            product->formula, product->matrix->name, temp_bytes, engine->temp_bytes);
    }
    code = CLBlastSgemmWithTempBuffer(CLBlastLayoutRowMajor, CLBlastTransposeNo, product->m_transpose,
                                      product->matrix->r, product->width, product->depth, 1.0f, in.mem, in_offset,
                                      product->depth, m.mem, m_offset, (size_t)product->matrix->cols, 0.0f, out.mem,
                                      out_offset, product->width, &queue, NULL, engine->temp.mem);
    psgd_device_count_launch(engine->device);
    return check_clblast(engine, code, "CLBlastSgemmWithTempBuffer", product);
}

static psgd_status_t enqueue_product(const psgd_engine_state_t *engine, product_t product, psgd_view_t in,
                                     psgd_view_t m, psgd_view_t out)
{
    psgd_status_t status;

    status = check_extents(&product, in.offset_bytes / sizeof(float), m.offset_bytes / sizeof(float),
                           out.offset_bytes / sizeof(float));
    if (status != PSGD_OK) {
        return status;
    }
    psgd_process_lock(); /* a call only enqueues, so others do not wait long */
    status = enqueue_locked(engine, &product, in, m, out);
    psgd_process_unlock();
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Creation: temporary memory, and a warm-up
 * ---------------------------------------------------------------------------------------------------------------- */

/* An operand either begins its buffer or does not: all that CLBlast's choices make of offsets. */
enum { OFFSET_VARIANTS = 2 };

/* *bytes_p = the larger of it and what the product can ever take. */
static psgd_status_t add_temp(const psgd_engine_state_t *engine, product_t product, size_t *bytes_p)
{
    psgd_status_t status;

    status = check_extents(&product, 0, 0, 0);
    for (size_t offset = 0; status == PSGD_OK && offset < OFFSET_VARIANTS; ++offset) {
        size_t bytes = 0;

        psgd_process_lock();
        status = query_temp(engine, &product, offset, offset, offset, &bytes);
        psgd_process_unlock();
        *bytes_p = bytes > *bytes_p ? bytes : *bytes_p;
    }
    return status;
}

/* One temporary buffer for all products: the queue is in order, so they take turns. */
static psgd_status_t create_temp(psgd_engine_state_t *engine)
{
    size_t        bytes = 0;
    psgd_status_t status;

    for (size_t i = 0; i < engine->matrices.count; ++i) {
        status = add_temp(engine, product_p(matrix_of(engine, i)), &bytes);
        if (status != PSGD_OK) {
            return status;
        }
        status = add_temp(engine, product_q(matrix_of(engine, i)), &bytes);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (bytes == 0) {
        return PSGD_OK;
    }
    if (bytes / sizeof(float) > INT32_MAX) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "CLBlast asks for %zu bytes of temporary memory, beyond the 2^31 - 1 "
                         "elements that it can count; split the largest tensor",
                         bytes);
    }
    status = psgd_buffer_create(engine->device, bytes, "CLBlast's temporary memory", &engine->temp);
    if (status != PSGD_OK) {
        return status;
    }
    engine->temp_bytes = bytes;
    return PSGD_OK;
}

static bool shape_was_before(const psgd_engine_state_t *engine, size_t index)
{
    const psgd_plan_matrix_t *matrix = matrix_of(engine, index);

    for (size_t i = 0; i < index; ++i) {
        const psgd_plan_matrix_t *other = matrix_of(engine, i);

        if (other->rows == matrix->rows && other->cols == matrix->cols && other->r == matrix->r) {
            return true;
        }
    }
    return false;
}

/* Runs both products of every shape once, on zeros. Drivers compile for the sizes and the offsets they are given (PoCL
 * does), so the warm-up takes the very shapes, and an indirect product both at offset 0 and not. */
static psgd_status_t warm_up_shapes(psgd_engine_state_t *engine, psgd_view_t m, psgd_view_t p, psgd_view_t q)
{
    const size_t num_offsets = engine->temp_bytes > 0 ? OFFSET_VARIANTS : 1;

    for (size_t i = 0; i < engine->matrices.count; ++i) {
        const psgd_plan_matrix_t *matrix = matrix_of(engine, i);

        if (shape_was_before(engine, i)) {
            continue;
        }
        for (size_t offset = 0; offset < num_offsets; ++offset) {
            psgd_view_t   m_at = psgd_view_at(m, offset * sizeof(float));
            psgd_view_t   p_at = psgd_view_at(p, offset * sizeof(float));
            psgd_view_t   q_at = psgd_view_at(q, offset * sizeof(float));
            psgd_status_t status;

            status = enqueue_product(engine, product_p(matrix), q_at, m_at, p_at);
            if (status != PSGD_OK) {
                return status;
            }
            status = enqueue_product(engine, product_q(matrix), p_at, m_at, q_at);
            if (status != PSGD_OK) {
                return status;
            }
        }
    }
    return PSGD_OK;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Memory of our own to warm up on: it lives no longer than that. */
static psgd_status_t warm_up(psgd_engine_state_t *engine)
{
    const char   *what    = "CLBlast's warm-up";
    uint64_t      m_elems = 0, p_elems = 0, q_elems = 0;
    psgd_view_t   m = {NULL, 0}, p = {NULL, 0}, q = {NULL, 0};
    psgd_status_t status;

    for (size_t i = 0; i < engine->matrices.count; ++i) {
        const psgd_plan_matrix_t *matrix = matrix_of(engine, i);

        m_elems = larger(m_elems, matrix->rows * matrix->cols);
        p_elems = larger(p_elems, matrix->r * matrix->rows);
        q_elems = larger(q_elems, matrix->r * matrix->cols);
    }
    status = psgd_buffer_create(engine->device, (size_t)(m_elems + OFFSET_VARIANTS) * sizeof(float), what, &m);
    if (status != PSGD_OK) {
        goto release;
    }
    status = psgd_buffer_create(engine->device, (size_t)(p_elems + OFFSET_VARIANTS) * sizeof(float), what, &p);
    if (status != PSGD_OK) {
        goto release;
    }
    status = psgd_buffer_create(engine->device, (size_t)(q_elems + OFFSET_VARIANTS) * sizeof(float), what, &q);
    if (status != PSGD_OK) {
        goto release;
    }
    status = warm_up_shapes(engine, m, p, q);
    if (status != PSGD_OK) {
        goto release;
    }
    status = psgd_device_wait(engine->device, "the compilation of CLBlast's GEMM");

release:
    psgd_buffer_destroy(engine->device, &q);
    psgd_buffer_destroy(engine->device, &p);
    psgd_buffer_destroy(engine->device, &m);
    return status;
}

/* The warm-up between two lines of log. Where the device is too full for it, the first step compiles instead. */
static psgd_status_t compile(psgd_engine_state_t *engine)
{
    const psgd_log_t *log   = psgd_device_log(engine->device);
    const char       *name  = psgd_device_limits(engine->device)->name;
    uint64_t          start = psgd_now_ns();
    psgd_status_t     status;

    psgd_log(
        log, PSGD_LOG_INFO,
        "compiling CLBlast's GEMM for %s: seconds to a minute the first time on a machine, later it comes from the "
        "driver's cache",
        name);
    status = warm_up(engine);
    if (status == PSGD_ERR_DEVICE_MEMORY) {
        psgd_log(log, PSGD_LOG_WARN,
                 "no room to compile CLBlast's GEMM ahead; the first step does it and takes longer (%s)",
                 psgd_last_error());
        return PSGD_OK;
    }
    if (status != PSGD_OK) {
        return status;
    }
    psgd_log(log, PSGD_LOG_INFO, "CLBlast's GEMM is ready on %s after %.2f s", name,
             (double)(psgd_now_ns() - start) * 1e-9);
    return PSGD_OK;
}

/* ------------------------------------------------------------------------------------------------------------------
 * The engine
 * ---------------------------------------------------------------------------------------------------------------- */

static void clblast_destroy(psgd_engine_state_t *engine)
{
    if (engine == NULL) {
        return;
    }
    psgd_buffer_destroy(engine->device, &engine->temp);
    psgd_decompressor_destroy(engine->decompressor);
    psgd_compute_p_destroy(engine->form_m);
    psgd_matrices_destroy(&engine->matrices);
    psgd_free(engine);
}

static psgd_status_t create_kernels(psgd_engine_state_t *engine)
{
    if (engine->form != PSGD_FORM_NO_FEEDBACK) {
        psgd_status_t status = psgd_compute_p_create(engine->matrices.ragged, engine->form, false, &engine->form_m);

        if (status != PSGD_OK) {
            return status;
        }
    }
    return psgd_decompressor_create(engine->matrices.ragged, engine->form, &engine->decompressor);
}

static psgd_status_t clblast_create(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices,
                                    size_t num_matrices, psgd_form_t form, psgd_engine_state_t **engine_p)
{
    psgd_engine_state_t *engine;
    psgd_status_t        status;

    status = psgd_alloc(1, sizeof(*engine), "the clblast engine", &engine);
    if (status != PSGD_OK) {
        return status;
    }
    engine->device = device;
    engine->form   = form;
    status         = psgd_matrices_create(device, plan, matrices, num_matrices, &engine->matrices);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = create_kernels(engine);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = create_temp(engine);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = compile(engine);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *engine_p = engine;
    return PSGD_OK;

destroy:
    clblast_destroy(engine);
    return status;
}

/* Where P (or Q) of one matrix lies in a buffer of all. */
static psgd_view_t p_of(const psgd_plan_matrix_t *matrix, psgd_view_t all)
{
    return psgd_view_at(all, (size_t)matrix->p_offset_elems * sizeof(float));
}

static psgd_view_t q_of(const psgd_plan_matrix_t *matrix, psgd_view_t all)
{
    return psgd_view_at(all, (size_t)matrix->q_offset_elems * sizeof(float));
}

/* Where M of item i lies. */
static psgd_view_t m_of(const psgd_engine_state_t *engine, size_t i, const psgd_step_views_t *views)
{
    return engine->form == PSGD_FORM_LAZY ? views->errors[engine->matrices.indices[i]]
                                          : views->grads[engine->matrices.indices[i]];
}

static psgd_status_t enqueue_form_m(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    const psgd_compute_p_views_t pass = {.q_hat    = views->q_hat, /* not read; every argument names some buffer */
                                         .p        = views->p,
                                         .p_before = views->p_hat,
                                         .q_before = views->q_local,
                                         .parts    = views->p};

    return engine->form_m == NULL ? PSGD_OK : psgd_compute_p_enqueue(engine->form_m, &pass);
}

/* P = M Q^ of item i */
static psgd_status_t enqueue_p(psgd_engine_state_t *engine, size_t i, const psgd_step_views_t *views)
{
    const psgd_plan_matrix_t *matrix = matrix_of(engine, i);

    return enqueue_product(engine, product_p(matrix), q_of(matrix, views->q_hat), m_of(engine, i, views),
                           p_of(matrix, views->p));
}

/* Q_w = M^T P^ of item i */
static psgd_status_t enqueue_q(psgd_engine_state_t *engine, size_t i, const psgd_step_views_t *views)
{
    const psgd_plan_matrix_t *matrix = matrix_of(engine, i);

    return enqueue_product(engine, product_q(matrix), p_of(matrix, views->p_hat), m_of(engine, i, views),
                           q_of(matrix, views->q_local));
}

/* M = g + e;  P = M Q^ */
static psgd_status_t clblast_enqueue_compute_p(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    psgd_status_t status;

    status = psgd_matrices_place(&engine->matrices, views);
    if (status != PSGD_OK) {
        return status;
    }
    status = enqueue_form_m(engine, views);
    for (size_t i = 0; (status == PSGD_OK) && (i < engine->matrices.count); ++i) {
        status = enqueue_p(engine, i, views);
    }
    return status;
}

/* Q_w = M^T P^ */
static psgd_status_t clblast_enqueue_compute_q(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    psgd_status_t status = psgd_matrices_place(&engine->matrices, views);

    for (size_t i = 0; (status == PSGD_OK) && (i < engine->matrices.count); ++i) {
        status = enqueue_q(engine, i, views);
    }
    return status;
}

static psgd_status_t clblast_enqueue_one(psgd_engine_state_t *engine, size_t item, const psgd_step_views_t *views)
{
    psgd_status_t status;

    status = psgd_matrices_place(&engine->matrices, views);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_ragged_focus(engine->matrices.ragged, item);
    status = enqueue_form_m(engine, views);
    psgd_ragged_focus(engine->matrices.ragged, SIZE_MAX);
    if (status != PSGD_OK) {
        return status;
    }
    status = enqueue_p(engine, item, views);
    return status == PSGD_OK ? enqueue_q(engine, item, views) : status;
}

/* e = M - P^ Q_w^T;  update = P^ Qbar^T */
static psgd_status_t clblast_enqueue_decompress(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    const psgd_decompress_views_t pass = {views->p_hat, views->q_scaled, views->update_scales, views->q_local,
                                          views->rounding};

    return psgd_decompressor_enqueue(engine->decompressor, &pass);
}

static psgd_status_t clblast_enqueue_settle(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    psgd_status_t status = psgd_matrices_place_errors(&engine->matrices, views);

    return status != PSGD_OK ? status
                             : psgd_compute_p_enqueue_settle(engine->form_m, views->p_hat, views->q_local);
}

const psgd_engine_ops_t psgd_engine_clblast = {.kind               = PSGD_ENGINE_CLBLAST,
                                               .create             = clblast_create,
                                               .enqueue_compute_p  = clblast_enqueue_compute_p,
                                               .enqueue_compute_q  = clblast_enqueue_compute_q,
                                               .enqueue_decompress = clblast_enqueue_decompress,
                                               .enqueue_one        = clblast_enqueue_one,
                                               .enqueue_settle     = clblast_enqueue_settle,
                                               .destroy            = clblast_destroy};
