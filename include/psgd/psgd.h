/* SPDX-License-Identifier: MIT
 *
 * libpsgd: PowerSGD gradient compression for any OpenCL device.
 *
 * Data-parallel training averages every worker's gradient in every step. For a large model on an ordinary network that
 * exchange costs more than the arithmetic. PowerSGD (Vogels, Karimireddy, Jaggi; NeurIPS 2019) sends, in place of a
 * gradient matrix M (rows x cols), two thin factors P (rows x r) and Q (cols x r) whose product is the best low-rank guess
 * at the mean of all M; what the guess leaves out is kept in an error memory and added to the next gradient, so that
 * nothing is lost, only delayed.
 *
 * This header is the whole library, in the order in which you would learn it:
 *
 *    1. status codes and the last error        5. communicators: who the other workers are
 *    2. log                                    6. the reducer: create, step, destroy
 *    3. devices                                7. statistics
 *    4. tensors and the configuration          8. state: export, import, checkpoints
 *                                              9. environment variables, version
 *
 * The shortest complete program:
 *
 *    psgd_comm_t *comm = NULL;
 *    psgd_reducer_t *reducer = NULL;
 *    psgd_tensor_t weight = PSGD_TENSOR_INIT;
 *    psgd_config_t config = PSGD_CONFIG_INIT;
 *
 *    weight.name = "fc.weight"; weight.num_dims = 2; weight.dims[0] = 512; weight.dims[1] = 784;
 *    config.rank = 4;
 *    psgd_comm_self_create(&comm);                   (or psgd_comm_mpi_create(), see psgd_mpi.h)
 *    psgd_reducer_create(context, device, queue, &weight, 1, &config, comm, &reducer);
 *    for (each training step) {
 *        psgd_buffer_t grad = {gradient_mem, 0};     (your backward pass has written it)
 *        psgd_reducer_step(reducer, &grad, 1);       (now it holds the update, the same on every worker)
 *        ... apply your optimizer ...
 *    }
 *    psgd_reducer_destroy(reducer);
 *    psgd_comm_destroy(comm);
 *
 * Conventions. Every function that can fail returns psgd_status_t: PSGD_OK is 0, errors are negative. Outputs come last,
 * end in `_p`, and are written only on success. Sizes carry their unit in the name (`_elems`, `_bytes`, `_ns`).
 * `destroy(NULL)` does nothing. Structs that may grow carry `struct_size` and are initialized by their `..._INIT` macro.
 *
 * Threads. Different objects may be used from different threads at the same time. One object is used by one thread at a
 * time. The last error belongs to the thread that called. A reducer on a CPU device has a thread that waits for the driver, with
 * all signals blocked.
 *
 * The library keeps no global state, writes nothing to stdout, and never calls exit().
 */
#ifndef PSGD_PSGD_H
#define PSGD_PSGD_H

#include <stddef.h>
#include <stdint.h>

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#if defined(__GNUC__)
#define PSGD_API __attribute__((visibility("default")))
#else
#define PSGD_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------------
 * 1. Status codes and the last error
 * ---------------------------------------------------------------------------------------------------------------- */

/* One row a status: name, value, what it means in a few words (psgd_status_string). */
#define PSGD_STATUS_TABLE(ROW) \
    ROW(OK, 0, "success") \
    ROW(ERR_INVALID_ARGUMENT, -1, "invalid argument") \
    ROW(ERR_HOST_MEMORY, -2, "out of host memory") \
    ROW(ERR_DEVICE_MEMORY, -3, "out of device memory") \
    ROW(ERR_NO_DEVICE, -4, "no such OpenCL device") \
    ROW(ERR_DEVICE_UNSUITABLE, -5, "the device cannot run libpsgd") \
    ROW(ERR_OPENCL, -6, "an OpenCL call failed") \
    ROW(ERR_BUILD, -7, "a kernel could not be loaded or compiled") \
    ROW(ERR_CLBLAST, -8, "a CLBlast call failed") \
    ROW(ERR_COMM, -9, "the communicator failed") \
    ROW(ERR_TIMEOUT, -10, "the deadline passed") \
    ROW(ERR_MISMATCH, -11, "the workers do not agree") \
    ROW(ERR_NONFINITE, -12, "a gradient holds NaN or Inf, or overflowed") \
    ROW(ERR_DIVERGED, -13, "the workers hold different bits") \
    ROW(ERR_POISONED, -14, "the reducer failed earlier and cannot go on") \
    ROW(ERR_STATE, -15, "the state does not fit this reducer") \
    ROW(ERR_UNSUPPORTED, -16, "not supported") \
    ROW(ERR_INTERNAL, -17, "a bug in libpsgd") \
    ROW(ERR_FILE, -18, "a file could not be read or written, or is damaged")

typedef enum psgd_status {
#define PSGD_STATUS_ROW(name_, value_, text_) PSGD_##name_ = (value_),
    PSGD_STATUS_TABLE(PSGD_STATUS_ROW)
#undef PSGD_STATUS_ROW
} psgd_status_t;

/* What a status means, in a few words; "unknown status" for other values. Static storage, never NULL. */
PSGD_API const char *psgd_status_string(psgd_status_t status);

/* The name of a status as it stands in this header, "PSGD_ERR_TIMEOUT". Static storage, never NULL. */
PSGD_API const char *psgd_status_name(psgd_status_t status);

/* The sentence of the last error of the calling thread: what happened, where, and what to do. It stays until the next
 * failing call of this thread; a successful call does not clear it. Owned by the library, never NULL; "" before any. */
PSGD_API const char *psgd_last_error(void);

/* ------------------------------------------------------------------------------------------------------------------
 * 2. Log
 * ---------------------------------------------------------------------------------------------------------------- */

typedef enum psgd_log_level {
    PSGD_LOG_OFF   = 0, /* nothing */
    PSGD_LOG_ERROR = 1, /* the operation failed */
    PSGD_LOG_WARN  = 2, /* unexpected, but it goes on (a worker is late, two workers share one GPU); the default */
    PSGD_LOG_INFO  = 3, /* rare and useful: a plan was made, kernels are being compiled */
    PSGD_LOG_DEBUG = 4  /* a line for each object and step */
} psgd_log_level_t;

/* Receives one line without a newline. Called on the thread that called the library; it must not call the library back.
 * `user` is psgd_config_t.log_user. */
typedef void (*psgd_log_fn)(psgd_log_level_t level, const char *line, void *user);

/* ------------------------------------------------------------------------------------------------------------------
 * 3. Devices
 * ---------------------------------------------------------------------------------------------------------------- */

typedef enum psgd_device_kind {
    PSGD_DEVICE_OTHER       = 0,
    PSGD_DEVICE_CPU         = 1,
    PSGD_DEVICE_GPU         = 2,
    PSGD_DEVICE_ACCELERATOR = 3
} psgd_device_kind_t;

/* One OpenCL device and the limits that matter to this library. */
typedef struct psgd_device_info {
    size_t             struct_size;            /* set by PSGD_DEVICE_INFO_INIT */
    cl_platform_id     platform;
    cl_device_id       device;
    uint32_t           index;                  /* position among all devices of all platforms, from 0 */
    uint32_t           platform_index;         /* the P of "P:D", from 0 */
    uint32_t           device_index;           /* the D of "P:D", from 0 within its platform */
    psgd_device_kind_t kind;
    char               name[256];
    char               vendor[256];
    char               platform_name[256];
    char               device_version[256];    /* "OpenCL 1.2 ..." */
    char               driver_version[256];
    uint64_t           global_memory_bytes;
    uint64_t           max_allocation_bytes;   /* the largest single buffer */
    uint64_t           local_memory_bytes;     /* of one work-group */
    uint64_t           max_work_group_size;    /* work-items */
    uint32_t           compute_units;
    uint32_t           max_clock_mhz;
    uint32_t           base_alignment_bytes;   /* of sub-buffers; this library makes none of the caller's memory */
    int                has_unified_memory;     /* 1: host and device share one memory */
    int                has_out_of_order_queue; /* 1: queues may be out of order */
    int                has_fp16;               /* 1: cl_khr_fp16 (not needed) */
    int                has_fp64;               /* 1: double precision (not needed) */
    int                has_fma;                /* 1: CL_FP_FMA for fp32: fma() is as fast as a multiplication */
    int                has_denormals;          /* 1: CL_FP_DENORM for fp32 */
    int                is_usable;              /* 1: libpsgd can run here */
    char               reason[256];            /* is_usable 0: what is missing; 1: "" */
} psgd_device_info_t;

#define PSGD_DEVICE_INFO_INIT \
    { sizeof(psgd_device_info_t), NULL, NULL, 0, 0, 0, PSGD_DEVICE_OTHER, "", "", "", "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, 0, 0, "" }

/* Lists every device of every OpenCL platform, usable or not, in a stable order (platforms as the loader gives them).
 *
 *   infos      array of `capacity` structs, each initialized by PSGD_DEVICE_INFO_INIT; NULL with capacity 0 only counts
 *   count_p    how many devices there are, also when that is more than capacity; 0 is not an error
 *
 * Errors: PSGD_ERR_INVALID_ARGUMENT; PSGD_ERR_OPENCL where the loader fails in an unexpected way. A machine without any
 * OpenCL driver, and a platform without devices, are normal: they count as none. */
PSGD_API psgd_status_t psgd_device_list(psgd_device_info_t *infos, size_t capacity, size_t *count_p);

/* Chooses one usable device.
 *
 *   which    "3"          the device with this index
 *            "1:0"        device 0 of platform 1
 *            "gpu" "cpu" "accelerator"   the first usable one of this kind
 *            other text   the first usable one whose name, vendor, platform or version contains it, in any case
 *                         ("radeon", "pocl")
 *            NULL or ""   PSGD_DEVICE from the environment, else the first usable GPU, else the first usable device
 *
 * Errors: PSGD_ERR_NO_DEVICE (the sentence names what there is, and the package to install where there is nothing),
 * PSGD_ERR_DEVICE_UNSUITABLE (named by index, but not usable), PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_OPENCL. */
PSGD_API psgd_status_t psgd_device_find(const char *which, psgd_device_info_t *info_p);

/* What psgd_device_selftest() found. */
typedef struct psgd_selftest {
    size_t   struct_size;         /* set by PSGD_SELFTEST_INIT */
    uint64_t update_values;       /* elements of P Q^T formed on the device, denormals and cancellations among them */
    uint64_t update_wrong;        /* of these, how many differ in any bit from the host's fmaf chain; must be 0 */
    uint64_t random_values;       /* Philox4x32-10 words drawn on the device */
    uint64_t random_wrong;        /* of these, how many differ from the host's; must be 0 */
    double   orthogonality_error; /* max |I - P^T P| over the test matrices; must be <= 9.5e-7 */
    int      flushes_denormals;   /* 1: the device reads or writes denormal floats as zero (allowed, compensated for) */
    int      passed;              /* 1: all of the above hold */
} psgd_selftest_t;

#define PSGD_SELFTEST_INIT { sizeof(psgd_selftest_t), 0, 0, 0, 0, 0.0, 0, 0 }

/* Runs the known answers that equal bits on every worker rest on, with the library's own kernels on this device.
 * Makes a context and a queue of its own. PSGD_OK also where passed is 0; errors are those of OpenCL. */
PSGD_API psgd_status_t psgd_device_selftest(cl_device_id device, psgd_selftest_t *selftest_p);

/* ------------------------------------------------------------------------------------------------------------------
 * 4. Tensors and the configuration
 * ---------------------------------------------------------------------------------------------------------------- */

/* What gradients are stored in. All arithmetic is single precision. */
typedef enum psgd_dtype {
    PSGD_F32  = 0, /* IEEE 754 single precision, 4 bytes */
    PSGD_F16  = 1, /* IEEE 754 half precision, 2 bytes */
    PSGD_BF16 = 2  /* bfloat16: the upper half of a single, 2 bytes */
} psgd_dtype_t;

#define PSGD_MAX_DIMS            8
#define PSGD_MAX_RANK            1024
#define PSGD_MAX_HALF_ITERATIONS 16
#define PSGD_NEVER_COMPRESS      (-1)

/* The matrices in a tensor, where they are not dims[0] x the rest: `batch` matrices of rows x cols, each with factors of its own.
 * Element (i, j) of matrix b is the tensor's element number b batch_stride + i row_stride + j col_stride, and every element
 * is in one place: the strides, sorted, are 1 and then each the one before times its extent (of extents of 1 the stride
 * does not matter).
 *
 *     experts (E, n, m), a matrix each               {E, n, m,  n m, m, 1}
 *     q, k and v in one tensor (d, 3 d)              {3, d, d,  d, 3 d, 1}
 *     a convolution stored (kh, kw, in, out)         {1, out, kh kw in,  0, 1, out}
 *     the transposed matrix of a tensor (n, m)       {1, m, n,  0, 1, m}
 *
 * Contiguous matrices, as the experts', cost nothing. Others are copied into a matrix layout before a step and back after
 * it: 4 more moves of the tensor, and as much more device memory. */
typedef struct psgd_matrix_view {
    uint64_t batch, rows, cols; /* all 0: dims[0] x the rest. The product is the tensor's elements; batch below 2^20 */
    uint64_t batch_stride, row_stride, col_stride; /* in elements of the tensor */
} psgd_matrix_view_t;

/* One parameter tensor, row-major and contiguous. Its gradient is compressed as the matrix dims[0] x (the product of the
 * other dims), unless `view` says otherwise; a tensor of one dimension without a view is never compressed.
 *
 * Of gradients in 16 bits the step takes a single precision copy (4 bytes an element of device memory), and rounds the update to nearest
 * even; beyond 65504 an update in half precision is infinite. Error memory and factors stay in single precision, so that nothing is
 * lost but in that rounding. */
typedef struct psgd_tensor {
    size_t       struct_size;         /* set by PSGD_TENSOR_INIT; the same for all tensors of an array */
    const char  *name;                /* unique among the tensors; what state is keyed by; copied */
    uint64_t     dims[PSGD_MAX_DIMS]; /* each >= 1; the product below 2^40 */
    uint32_t     num_dims;            /* 1 to PSGD_MAX_DIMS */
    psgd_dtype_t dtype;               /* of the gradient; PSGD_F32 by default */
    int32_t      rank;                /* 1 to PSGD_MAX_RANK; 0: psgd_config_t.rank; PSGD_NEVER_COMPRESS */
    psgd_matrix_view_t view;          /* all 0 by default */
} psgd_tensor_t;

#define PSGD_TENSOR_INIT \
    { sizeof(psgd_tensor_t), NULL, { 0, 0, 0, 0, 0, 0, 0, 0 }, 0, PSGD_F32, 0, { 0, 0, 0, 0, 0, 0 } }

/* Who does the matrix products of a step: for each matrix the same on all workers. Their sums are rounded differently. */
typedef enum psgd_engine {
    PSGD_ENGINE_AUTO    = 0, /* whichever was faster, for each shape of matrix: measured at creation on the workers' devices */
    PSGD_ENGINE_CLBLAST = 1, /* CLBlast's GEMM, a call a matrix */
    PSGD_ENGINE_FUSED   = 2  /* this library's kernels: each pass over the gradients does all that it can, for all matrices in
                              * one launch. No CLBlast program is compiled */
} psgd_engine_t;

/* The word of an engine: "auto", "clblast", "fused"; "unknown" for other values. Static storage. */
PSGD_API const char *psgd_engine_name(psgd_engine_t engine);

/* How the factors get from device memory to the communicator, which is always handed ordinary host memory, and back. */
typedef enum psgd_staging {
    PSGD_STAGING_AUTO   = 0, /* map where host and device share one memory, else whichever copy was faster at creation */
    PSGD_STAGING_COPY   = 1, /* the driver copies to and from ordinary memory */
    PSGD_STAGING_PINNED = 2, /* the driver copies to and from memory that it has allocated itself (CL_MEM_ALLOC_HOST_PTR) */
    PSGD_STAGING_MAP    = 3  /* the device's buffer is mapped */
} psgd_staging_t;

/* How workers come by the same bits of what they must hold alike: factors and means. */
typedef enum psgd_sharing {
    PSGD_SHARING_AUTO   = 0, /* owners where the workers' devices or drivers differ, which creation finds out; else none */
    PSGD_SHARING_NONE   = 1, /* every worker makes all factors orthonormal for itself, out of sums by all_reduce: nothing is waited for
                              * twice. Devices that round differently, and all_reduces that do not give the same bits to all,
                              * end in PSGD_ERR_DIVERGED */
    PSGD_SHARING_OWNERS = 2  /* everything is made by one worker and copied: sums by reduce_scatter and all_gather, and of each matrix
                              * P^ by its owner in between, in the bytes of an all_reduce; the orthonormal Q travels too. Where the
                              * communicator has no reduce_scatter or all_gather, by sums with zeros */
} psgd_sharing_t;

/* How a reducer compresses. Everything but staging, the log, the deadlines, exact_phase_times and progress_thread must be the same on all
 * workers; creation compares it and names what differs. */
typedef struct psgd_config {
    size_t        struct_size;          /* set by PSGD_CONFIG_INIT */

    /* The low rank r of the approximation: columns of P and Q. 1 to PSGD_MAX_RANK, default 4; 0 is an error.
     * A matrix uses r_eff = min(r, rows, cols). Higher: closer to the true mean gradient, more bytes. */
    uint32_t      rank;

    /* A matrix is compressed if (rows + cols) * r_eff * min_compression_rate < rows * cols; everything else is averaged
     * as it is. Finite, >= 0, default 2; 0: compress every tensor of two or more dimensions. */
    double        min_compression_rate;

    /* Steps before compression starts: steps 0 .. start_step - 1 average the gradients uncompressed and leave the error
     * memory at zero. Steps, default 0: compress from the first. */
    uint64_t      start_step;

    /* 1 (default): what compression leaves out of this worker's gradient is remembered and added to its next one.
     * 0: it is lost. No error memory is allocated then. */
    int           error_feedback;

    /* 1 (default): a step starts from the Q that the last one ended with, so that successive steps work as one subspace
     * iteration. 0: from a fresh random Q each step (needs a higher rank for the same quality). */
    int           warm_start;

    /* Of every random number: first Q, cold starts, replaced columns. Any value, default 0. The numbers depend on the
     * seed, the tensor's name, the step and the element alone: not on the device, the workers or the order of tensors. */
    uint64_t      seed;

    /* PSGD_ENGINE_AUTO by default. */
    psgd_engine_t engine;

    /* What PSGD_ENGINE_AUTO chose on an earlier occasion, as text of psgd_reducer_get_profile(): shapes that it names are not
     * measured again. NULL (default): all are measured. Read during creation only. */
    const char   *engine_profile;

    /* 0 (default): a step happens on all workers or on none, whatever the gradients hold.
     * 1: the caller promises that no gradient holds NaN or Inf, as loops that check for overflow know anyway. The step then
     * writes the error memory once less (5 passes over the gradients in place of 7), but cannot be undone: whatever fails
     * in it poisons the reducer. The updates have the same bits. */
    int           gradients_are_finite;

    /* PSGD_STAGING_AUTO by default. */
    psgd_staging_t staging;

    /* How long to wait for the other workers, or for the device, before giving up: seconds, finite, default 600;
     * 0: the default. After this the call returns PSGD_ERR_TIMEOUT and the reducer is poisoned. */
    double        deadline_seconds;

    /* After how long to log a warning that names what is being waited for: seconds, finite, default 60; 0: the default. */
    double        warn_seconds;

    /* 0 (default): device work is counted in the phase whose result the host waits for. 1: the device is drained after each phase, so
     * that every phase's time is its own; costs some tens of microseconds a phase. */
    int           exact_phase_times;

    /* Where log lines go, and which. NULL (default): to stderr, at the level that PSGD_LOG names (default "warn").
     * With a callback: to it, at log_level. */
    psgd_log_fn      log;
    void            *log_user;
    psgd_log_level_t log_level;

    /* 0 (default): a step is a full iteration, P and then Q, in two messages.
     * k = 1 to PSGD_MAX_HALF_ITERATIONS: a step is k half-iterations, which alternate between P and Q also from step to step, as in
     * the powersgd package and in ACP-SGD. Each sends one factor in one message, with an error feedback of its own; the update
     * is the sum of their pieces. k = 1 sends half as much as a full iteration and waits once; k = 2 sends as much. k times
     * the rank of any matrix is at most PSGD_MAX_RANK. What is compressed does not depend on k. Device memory: 2 k rather than 2
     * (rows + cols) r for the pieces. gradients_are_finite is accepted and not made use of. */
    uint32_t         half_iterations;

    /* The largest 2-norm of an update, over all tensors together: where it is larger, the update is multiplied by max_norm / norm, as
     * clip_grad_norm_ does to averaged gradients. What is clipped off is not remembered. 0 (default): off; from 1e-12; infinite:
     * the norm is measured (psgd_stats_t.update_norm), and nothing clipped. It is taken from the factors, so that it costs no
     * pass over the gradients; but for clipped steps before start_step, which cost one more. */
    double           max_norm;

    /* Every so many steps, beginning with step 0, measure how much of the gradients the factors capture: psgd_reducer_get_energy().
     * Costs a pass over the gradients, and a message of 32 bytes a worker and matrix and 16 a worker, in those steps. Steps, default
     * 0: never. */
    uint64_t         energy_every;

    /* Every so many steps worker 0 writes a line of statistics to the log, at level info: step, compression rate, bytes and
     * milliseconds of a step and of its phases on average since the last such line. Steps, default 0: never. */
    uint64_t         log_every;

    /* 0 (default): each matrix has factors of its own. 1: all tensors but those that are never compressed make one square
     * matrix, one behind the other, filled up with zeros, as batched_powerSGD_hook of PyTorch does with a bucket. One pair of factors
     * is little to send and to orthogonalize, but rows of this matrix have nothing to do with each other: expect worse updates.
     * Views of tensors are not looked at, and ranks of tensors must be 0. Costs 4 more moves of the gradients, and a copy of
     * them in device memory. The state holds the matrix under the name PSGD_FLATTENED_NAME. */
    int              flatten;

    /* 0 (default): P, of the rows, is made orthonormal and reduced first, as in the paper. 1: the factor of the shorter side is, by
     * taking the transposed matrix where there are more rows than columns. That costs such tensors 4 more moves and a copy. */
    int              orthogonalize_shorter;

    /* The most that a compressed step sends a worker, in bytes of factors and uncompressed tensors (in MPI's ring, about twice that
     * crosses a worker's link). Ranks are chosen for it: each matrix begins with 1 and gets more, up to config.rank, in the order of
     * what another column is expected to capture for its bytes, which favours large and square matrices; a tensor's own rank is
     * kept. 0 (default): no budget, every matrix has config.rank. An error where rank 1 is too much already. */
    uint64_t         byte_budget;

    /* How factors travel. PSGD_F32 (default): in single precision. PSGD_F16, PSGD_BF16: they leave each worker in 16 bits and are
     * added up in single precision, by one worker for each part of them and in the order of the workers; P comes back in single
     * precision and Q in 16 bits, so that a step sends 5/8 as much (with half-iterations 3/4). Half precision is scaled by powers of two
     * for each matrix. What rounding takes off the update goes to the error memory, and is lost without error feedback;
     * uncompressed tensors travel in single precision. The communicator needs all_to_all and all_gather. */
    psgd_dtype_t     wire;

    /* What the error memory is kept in. PSGD_F32 (default), or PSGD_BF16: half the memory; what a step leaves is rounded to one of its
     * two neighbours, by chance and so that the mean is right, and this rounding (less than 2^-7 of an element) is the only thing that
     * is lost. Exports are in single precision; one that is imported again goes on bit for bit. gradients_are_finite is
     * accepted and not made use of. */
    psgd_dtype_t     error_dtype;

    /* How workers come by the same bits of factors and means: PSGD_SHARING_AUTO by default. With the same devices either way leads to
     * the same bits on all workers; since sums are then rounded in another order, not to those of the other way. */
    psgd_sharing_t   sharing;

    /* Every so many steps, beginning with step 0, the update is hashed on the device (with an optimizer, the parameters are), and the next
     * step compares the hashes of all workers: PSGD_ERR_DIVERGED names step and worker. Factors and means are compared in every
     * step anyway. Costs one pass over the gradients in those steps. Steps, default 0: never. */
    uint64_t         check_every;

    /* 0 (default): all gradients are compressed and exchanged together. Otherwise they are divided into buckets, runs of tensors that
     * have so many bytes of gradients or a little more: while one bucket's factors travel, the next is compressed, and with
     * psgd_reducer_submit() both happen while the backward pass still computes gradients. Buckets are filled from the last tensor to the
     * first, as a backward pass brings them; tensors are never cut. Smaller buckets overlap more and send more messages: begin with
     * 1 to 25 MB. The library's work goes to an OpenCL queue of its own then. A step happens as a whole, however many
     * buckets it has. With half_iterations or flatten there is one bucket. Bytes. */
    uint64_t         bucket_bytes;

    /* 0 (default): a step that was submitted goes on when the library is called. 1: a thread of the library's goes on with it, between
     * psgd_reducer_submit() and psgd_reducer_wait(). The library's work goes to an OpenCL queue of its own then. The communicator must
     * allow it (psgd_comm_t.any_thread; MPI: MPI_THREAD_MULTIPLE), or creation fails with PSGD_ERR_UNSUPPORTED. Log lines may come from
     * that thread. May differ between workers. */
    int              progress_thread;
} psgd_config_t;

/* The name under which the state holds the matrix of a flattened gradient (psgd_config_t.flatten). */
#define PSGD_FLATTENED_NAME "(flattened)"

#define PSGD_CONFIG_INIT \
    { sizeof(psgd_config_t), 4, 2.0, 0, 1, 1, 0, PSGD_ENGINE_AUTO, NULL, 0, PSGD_STAGING_AUTO, 0.0, 0.0, 0, NULL, NULL, \
      PSGD_LOG_WARN, 0, 0.0, 0, 0, 0, 0, 0, PSGD_F32, PSGD_F32, PSGD_SHARING_AUTO, 0, 0, 0 }

/* ------------------------------------------------------------------------------------------------------------------
 * 5. Communicators
 * ---------------------------------------------------------------------------------------------------------------- */

/* One collective operation under way; what it points to belongs to the communicator. */
typedef struct psgd_request psgd_request_t;

/* A communicator: this worker's connection to the others. libpsgd brings some (below, and psgd_mpi.h); you may bring your
 * own by filling in this table.
 *
 * Contract. No function blocks. `begin_*` starts a collective that every worker starts in the same order with matching
 * arguments; it returns at once with a request. `test` says whether the request is complete; it is called again and again
 * until *done_p is 1, then never again for that request, which is free for reuse by then. Several requests may be under way
 * (at least 16). Host memory passed to begin_*, arrays of counts included, stays valid and untouched until the request is
 * complete. Data are in place.
 * Sums are over all workers, element by element, fp32; every worker must receive the same bits. Counts of 0 never occur.
 * Failures are told by a negative status; set a sentence with psgd_comm_fail(). What fails then ends with PSGD_ERR_TIMEOUT if that was
 * the status, else with PSGD_ERR_COMM. A communicator is used by one thread at a time.
 *
 * `abort` is called once when the library gives up (deadline, failure): from then on no function but `destroy` is called.
 * Memory of requests that never completed stays allocated. */
typedef struct psgd_comm {
    size_t      struct_size;   /* sizeof(psgd_comm_t) as compiled */
    const char *name;          /* "mpi", "threads", "self", "nodes", yours; valid as long as the communicator */
    void       *self;          /* handed to every function */
    uint32_t    num_workers;   /* W, 1 to 74565 */
    uint32_t    worker_index;  /* 0 to W - 1 */

    /* data[0 .. count) becomes the sum over all workers. Required. */
    psgd_status_t (*begin_all_reduce)(void *self, float *data, size_t count_elems, psgd_request_t **request_p);

    /* data holds W segments of counts_elems[w] elements, one behind the other; segment worker_index becomes the sum over
     * all workers, the other segments are undefined afterwards. Optional (NULL). */
    psgd_status_t (*begin_reduce_scatter)(void *self, float *data, const size_t *counts_elems,
                                          psgd_request_t **request_p);

    /* data holds W segments of counts_bytes[w] bytes; this worker has filled in its own; afterwards all are. Optional. */
    psgd_status_t (*begin_all_gather)(void *self, void *data, const size_t *counts_bytes, psgd_request_t **request_p);

    /* Segment w of `send` (counts in bytes, one behind the other) goes to worker w, whose segment for this worker arrives in
     * segment w of `receive`. Not in place: send and receive do not overlap. Optional. */
    psgd_status_t (*begin_all_to_all)(void *self, const void *send, const size_t *send_counts_bytes, void *receive,
                                      const size_t *receive_counts_bytes, psgd_request_t **request_p);

    /* data[0 .. count) of worker `root` goes to all. Optional. */
    psgd_status_t (*begin_broadcast)(void *self, void *data, size_t count_bytes, uint32_t root,
                                     psgd_request_t **request_p);

    /* *done_p: 1 if the request is complete, else 0. Makes progress. Required. */
    psgd_status_t (*test)(void *self, psgd_request_t *request, int *done_p);

    /* Gives up whatever is under way; must return at once, whatever the other workers do. Required. */
    void (*abort)(void *self);

    /* Frees the communicator; called by psgd_comm_destroy(). May be NULL. Makes no collective call after abort. */
    void (*destroy)(void *self);

    /* For the sentence of a wait that is given up, before abort: writes into text[0 .. text_bytes) which workers have not come to the
     * request's collective, as far as that can be known: "worker 2 has not begun it". Empty: nothing is known. The one function
     * that may take a moment: a second. Optional. */
    void (*name_late)(void *self, const psgd_request_t *request, char *text, size_t text_bytes);

    /* 1: the functions may be called from any thread, one at a time, whatever the program does in its other threads. 0: from the
     * thread that created it. psgd_config_t.progress_thread needs 1. */
    int any_thread;
} psgd_comm_t;

/* One worker alone: every collective completes at once. *comm_p is freed by psgd_comm_destroy().
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_HOST_MEMORY. */
PSGD_API psgd_status_t psgd_comm_self_create(psgd_comm_t **comm_p);

/* num_workers workers in this process, each a thread with its own queue (and device, if there are several).
 * comms_p[0 .. num_workers) receives a communicator for each; each thread uses its own and destroys it by
 * psgd_comm_destroy(); what they share goes with the last. num_workers: 1 to 1024.
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_HOST_MEMORY. */
PSGD_API psgd_status_t psgd_comm_threads_create(uint32_t num_workers, psgd_comm_t **comms_p);

/* Workers of several nodes: those of a node, which share memory, combine what they have first; one of them, the leader, speaks for the
 * node; what the leaders get goes to all. So each message passes between two nodes once, however many workers they have. All workers get
 * the same bits, though not those of a communicator that connects them directly: sums are added up in another order. A collective:
 * every worker calls it, each with its own communicators of the two levels.
 *
 *   up, down           two communicators that connect the workers of this worker's node, in the same order; nodes may differ in size.
 *                      Two, so that what goes up never waits for its turn behind what comes down
 *   leaders            connects the workers of index 0 of all nodes; NULL on the others
 *   deadline_seconds   how long to wait for all workers to call this; finite; 0: 600. It bounds this call alone
 *   comm_p             freed by psgd_comm_destroy(), on the thread that uses it
 *
 * Workers are numbered node by node, in the order of their leaders. The new communicator takes over the three and destroys them; after a
 * failure they stay the caller's, and after PSGD_ERR_TIMEOUT and PSGD_ERR_COMM they are aborted: destroy them. `down` needs
 * begin_broadcast. Of the optional operations the new communicator has those that the three have on every node: reduce_scatter where
 * `leaders` has it, all_gather and broadcast where `up` and `leaders` do, all_to_all where all three do. Where there is one node, or one
 * worker on each, nothing is added: `up` or `leaders` is used as it is.
 *
 * Requests that were begun one after another also come to their end in this order, on each node: a small one behind a large one waits. As
 * many as 32 may be under way, as far as the three allow it. Memory is allocated by the first all_to_all of its size alone, and by no
 * other operation.
 *
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_UNSUPPORTED (more than 74565 workers, no begin_broadcast), PSGD_ERR_TIMEOUT, PSGD_ERR_COMM,
 * PSGD_ERR_HOST_MEMORY. */
PSGD_API psgd_status_t psgd_comm_nodes_create(psgd_comm_t *up, psgd_comm_t *down, psgd_comm_t *leaders,
                                              double deadline_seconds, psgd_comm_t **comm_p);

/* The same where all workers of this node are threads of this process: one thread calls it for all of them. A collective of the callers.
 *
 *   num_threads        workers of this node, 1 to 1024; nodes may differ
 *   leaders            connects the calling processes
 *   comms_p            num_threads communicators, one for each thread, which uses it alone and destroys it by psgd_comm_destroy();
 *                      comms_p[0] is the leader's: its thread alone uses `leaders` from then on, and destroys it */
PSGD_API psgd_status_t psgd_comm_nodes_threads_create(uint32_t num_threads, psgd_comm_t *leaders, double deadline_seconds,
                                                      psgd_comm_t **comms_p);

/* How many nodes a communicator of nodes has, which one is this worker's (from 0), and how many workers that one has. Local.
 * Errors: PSGD_ERR_INVALID_ARGUMENT (another communicator). */
PSGD_API psgd_status_t psgd_comm_nodes_describe(const psgd_comm_t *comm, uint32_t *num_nodes_p, uint32_t *node_index_p,
                                                uint32_t *node_workers_p);

/* Frees a communicator of the library. Every reducer that uses it must be destroyed before. */
PSGD_API void psgd_comm_destroy(psgd_comm_t *comm);

/* For authors of communicators: stores a sentence as the calling thread's last error and returns `status`. */
PSGD_API psgd_status_t psgd_comm_fail(psgd_status_t status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* ------------------------------------------------------------------------------------------------------------------
 * 6. The reducer
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct psgd_reducer psgd_reducer_t;

/* A gradient in device memory: `mem` belongs to the reducer's context, is readable and writable by kernels, and holds the
 * tensor from offset_bytes (a multiple of its elements' size) on. No sub-buffer is ever made of it. Means of what is not compressed go
 * through host memory: such a gradient's buffer has no CL_MEM_HOST_ flag. */
typedef struct psgd_buffer {
    cl_mem mem;
    size_t offset_bytes;
} psgd_buffer_t;

/* Creates a reducer. A collective: every worker calls it with the same tensors in the same order and the same
 * configuration, or all of them get PSGD_ERR_MISMATCH with a sentence that names what differs. If creation fails on one worker, it
 * fails on all.
 *
 *   context, device   where the gradients live. context NULL: the library makes its own on `device` (NULL: as
 *                     psgd_device_find(NULL)), which serves psgd_reducer_step_host() only
 *   queue             the caller's, of that context and device; steps wait for what was enqueued there before. NULL: the
 *                     library makes one, and the caller finishes its own before each step. Retained until destroy
 *   tensors           what each step will bring, num_tensors >= 1; copied
 *   config            NULL: the defaults; copied
 *   comm              must outlive the reducer; psgd_comm_self_create() for one worker alone
 *
 * Compiles kernels: with a cold driver cache this can take from seconds to a minute, and is said in the log (info).
 * Device memory, in floats: N (error memory, with error feedback) + at most 6 (rows + cols) r summed over the compressed
 * matrices + the small uncompressed tensors + 2 % of N or 2 MiB for tables and partial sums; with the clblast engine, what
 * CLBlast needs for a temporary copy of the largest matrix too, where it makes one; and a copy of tensors in 16 bits, of views that are
 * not contiguous, and of a flattened gradient. With error_dtype PSGD_BF16 the error memory takes half.
 *
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_MISMATCH, PSGD_ERR_HOST_MEMORY, PSGD_ERR_DEVICE_MEMORY,
 * PSGD_ERR_NO_DEVICE, PSGD_ERR_DEVICE_UNSUITABLE, PSGD_ERR_OPENCL, PSGD_ERR_BUILD, PSGD_ERR_CLBLAST, PSGD_ERR_COMM,
 * PSGD_ERR_TIMEOUT, PSGD_ERR_UNSUPPORTED. */
PSGD_API psgd_status_t psgd_reducer_create(cl_context context, cl_device_id device, cl_command_queue queue,
                                           const psgd_tensor_t *tensors, size_t num_tensors,
                                           const psgd_config_t *config, const psgd_comm_t *comm,
                                           psgd_reducer_t **reducer_p);

/* One step: replaces every worker's gradients by the update, a low-rank approximation of the mean over the workers of gradient plus
 * error memory (the plain mean, for tensors that are not compressed). The same bits on every worker. Blocking, and a
 * collective.
 *
 *   grads    one buffer a tensor, in the order of creation; regions of different tensors do not overlap
 *
 * On PSGD_OK the buffers hold the update and the device is done with them. On PSGD_ERR_INVALID_ARGUMENT (this worker
 * called it wrongly) and every other error before the last vote, all workers get the same status; error memory, Q and the step
 * counter are as before, the content of the gradient buffers is unspecified, and the next step may be called with fresh
 * gradients. PSGD_ERR_NONFINITE: NaN, Inf or an overflow on some worker; skip the step, as mixed-precision loops do.
 * PSGD_ERR_TIMEOUT, PSGD_ERR_COMM, PSGD_ERR_DIVERGED, PSGD_ERR_MISMATCH and failures after the last vote poison the reducer: every later
 * call returns PSGD_ERR_POISONED. With gradients_are_finite every failure of a compressed step does. */
PSGD_API psgd_status_t psgd_reducer_step(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads);

/* The same with gradients in host memory: grads[i] points to as many floats as tensor i has elements, aligned to 4 bytes (of a tensor
 * in 16 bits: to its elements, cast, aligned to 2). The reducer keeps a device copy of the gradients from the first such call on. */
PSGD_API psgd_status_t psgd_reducer_step_host(psgd_reducer_t *reducer, float *const *grads, size_t num_grads);

/* An optimizer's step that psgd_reducer_step_with() takes straight from the factors, so that the update is never written: parameters x
 * and momenta m, element by element, with the update u:
 *
 *     d = u + weight_decay x
 *     PSGD_RULE_POWERSGD     m = momentum m + d;  x = x - learning_rate (d + m)             the paper, Algorithm 2
 *     PSGD_RULE_HEAVY_BALL   m = momentum m + d;  x = x - learning_rate m                   as torch.optim.SGD
 *     PSGD_RULE_NESTEROV     m = momentum m + d;  x = x - learning_rate (d + momentum m)    as torch.optim.SGD(nesterov=True)
 *
 * Every worker passes the same numbers, and starts from the same parameters and momenta (zeros): then they stay the same, bit for
 * bit. */
typedef enum psgd_rule { PSGD_RULE_POWERSGD = 0, PSGD_RULE_HEAVY_BALL = 1, PSGD_RULE_NESTEROV = 2 } psgd_rule_t;

typedef struct psgd_optimizer {
    size_t               struct_size;   /* set by PSGD_OPTIMIZER_INIT */
    psgd_rule_t          rule;          /* PSGD_RULE_HEAVY_BALL by default */
    float                learning_rate; /* >= 0, finite */
    float                momentum;      /* 0 to 1 */
    float                weight_decay;  /* >= 0, finite; 0: none */
    const psgd_buffer_t *params;        /* x: a buffer a tensor, f32, of the reducer's context; updated in place */
    const psgd_buffer_t *momenta;       /* m: the same; NULL where momentum is 0 (not with PSGD_RULE_POWERSGD) */
    const psgd_buffer_t *half_params;   /* a copy of x in IEEE half precision, 2 bytes an element, written after it; NULL: none */
} psgd_optimizer_t;

#define PSGD_OPTIMIZER_INIT { sizeof(psgd_optimizer_t), PSGD_RULE_HEAVY_BALL, 0.0f, 0.0f, 0.0f, NULL, NULL, NULL }

/* What one step is told beside its gradients. All but `optimizer` may differ from worker to worker. */
typedef struct psgd_step_options {
    size_t         struct_size;  /* set by PSGD_STEP_OPTIONS_INIT */

    /* has_gradient[i] 0: this worker has no gradient of tensor i in this step. It counts as zeros, whatever its buffer holds; the buffer
     * is there and receives the update all the same, and the error memory takes part. NULL (default): all are there. */
    const uint8_t *has_gradient;

    /* What this worker's gradients are multiplied by before anything else: 1 / loss scale; or W b_w / B for batches of uneven size
     * b_w of B altogether, since the mean is one over W workers. Positive, finite, no denormal; 0 (default): 1. The error memory is in
     * the units of the scaled gradients, so that the scale may change from step to step. Other than 1 it costs 2 moves of the
     * gradients. */
    float          gradient_scale;

    /* What to do with parameters; NULL (default): nothing, the gradients' buffers receive the update. With an optimizer what they hold
     * afterwards is unspecified. */
    const psgd_optimizer_t *optimizer;
} psgd_step_options_t;

#define PSGD_STEP_OPTIONS_INIT { sizeof(psgd_step_options_t), NULL, 0.0f, NULL }

/* psgd_reducer_step() and psgd_reducer_step_host() with options; NULL: none. A step that fails before its last vote has not touched
 * parameters or momenta; one that fails after it, on this worker alone, may have, and poisons. Errors: as psgd_reducer_step(), and
 * PSGD_ERR_UNSUPPORTED for a tensor of 2^32 elements or more. */
PSGD_API psgd_status_t psgd_reducer_step_with(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads,
                                              const psgd_step_options_t *options);
PSGD_API psgd_status_t psgd_reducer_step_host_with(psgd_reducer_t *reducer, float *const *grads, size_t num_grads,
                                                   const psgd_step_options_t *options);

/* ---- A step in parts: begin, submit, wait ----
 *
 * A backward pass has the last layer's gradient long before the first one's. Submitted as they come, gradients are compressed and sent
 * while it goes on:
 *
 *    for (each layer, from the last to the first) {
 *        ... enqueue what computes its gradient ...
 *        psgd_reducer_submit(reducer, layer, &grads[layer], 1, 0, NULL);
 *    }
 *    psgd_reducer_wait(reducer, NULL);                        (now all buffers hold the update)
 *
 * A bucket (psgd_config_t.bucket_bytes) begins when the last of its tensors has been submitted, and its messages not before those of all
 * buckets behind it have begun, whatever order tensors come in; so submit the last tensors first. Where its gradients come after nothing
 * but what the reducer's queue was given, and that is in order, the first pass over them is enqueued there, right behind them.
 * A step is one on all workers or on none, as psgd_reducer_step() is, which is the same with everything submitted at once: the same
 * buckets give the same bits.
 *
 * What waits for the device or for other workers goes on whenever the library is called: by psgd_reducer_submit(), psgd_reducer_poll(),
 * and psgd_reducer_wait(); or by a thread of its own (psgd_config_t.progress_thread). With config.sharing by owners, submitting may wait
 * for other workers.
 *
 * Between the first of these calls and psgd_reducer_wait() no other function of the reducer but psgd_reducer_get_stats() and
 * psgd_reducer_destroy() may be called: PSGD_ERR_INVALID_ARGUMENT. A call that fails has told the other workers nothing yet:
 * psgd_reducer_wait() does, and must be called on every worker all the same. */

/* Begins a step that has options (NULL: none). They are read here; what they point to stays until psgd_reducer_wait() returns. A step
 * without options may begin with its first psgd_reducer_submit() as well. Enqueues what needs no gradient: best called before the
 * forward pass. Local, does not wait. Errors: those of wrong arguments;
 * PSGD_ERR_POISONED; PSGD_ERR_INVALID_ARGUMENT where a step has begun already. */
PSGD_API psgd_status_t psgd_reducer_begin(psgd_reducer_t *reducer, const psgd_step_options_t *options);

/* Submits the gradients of tensors first_tensor to first_tensor + num_grads - 1: one, several, or all. Each tensor is submitted once a
 * step.
 *
 *   grads       a buffer a tensor, as of psgd_reducer_step(); they belong to the reducer until psgd_reducer_wait() returns
 *   wait_list   num_events events of the reducer's context after which the gradients are there; retained. NULL with 0: they are there
 *               after all that was enqueued on the reducer's queue so far
 *
 * Does not wait, but for the update of the last step where that was ended with an event and is not there yet. Errors:
 * PSGD_ERR_INVALID_ARGUMENT, also for a tensor submitted twice; PSGD_ERR_POISONED; PSGD_ERR_OPENCL,
 * PSGD_ERR_HOST_MEMORY; and the status with which the step has failed, here or elsewhere, since it began. */
PSGD_API psgd_status_t psgd_reducer_submit(psgd_reducer_t *reducer, size_t first_tensor, const psgd_buffer_t *grads,
                                           size_t num_grads, cl_uint num_events, const cl_event *wait_list);

/* The same with gradients in host memory, as of psgd_reducer_step_host(); a step may have both. */
PSGD_API psgd_status_t psgd_reducer_submit_host(psgd_reducer_t *reducer, size_t first_tensor, float *const *grads,
                                                size_t num_grads);

/* Goes on with a step that has begun, as far as is possible without waiting; does nothing where none has. Errors:
 * PSGD_ERR_INVALID_ARGUMENT, and the status with which the step has failed. */
PSGD_API psgd_status_t psgd_reducer_poll(psgd_reducer_t *reducer);

/* Ends the step that was submitted: on PSGD_OK all buffers hold the update, or will when *event_p is complete. A collective; its
 * errors, and what they leave behind, are those of psgd_reducer_step(); PSGD_ERR_INVALID_ARGUMENT, on all workers, where one of them
 * has not submitted every tensor, or nothing.
 *
 *   event_p   NULL: waits for the device. Otherwise *event_p is set on PSGD_OK, and the call returns when the step is decided;
 *             release it by clReleaseEvent(). Commands that are enqueued on the reducer's queue later come after it by themselves.
 *             What fails on the device until then is told by the next call. Host gradients are waited for all the same */
PSGD_API psgd_status_t psgd_reducer_wait(psgd_reducer_t *reducer, cl_event *event_p);

/* Forgets what compression has left out so far: zeroes this worker's error memory. Local; the updates stay the same on all workers also
 * where only some do it. Waits for the device. Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_POISONED, PSGD_ERR_OPENCL,
 * PSGD_ERR_TIMEOUT. */
PSGD_API psgd_status_t psgd_reducer_reset_error(psgd_reducer_t *reducer);

/* Gives tensors other ranks between two steps: ranks[i] for tensor i, 1 to PSGD_MAX_RANK; 0: as it is. A collective: every worker
 * passes the same ranks, or all of them refuse, and nothing has changed then (PSGD_ERR_MISMATCH names the tensor).
 *
 * What is compressed stays as it is, whatever min_compression_rate says at the new rank; so does what is not, whatever its rank here. With
 * config.flatten the tensors of the one matrix get one rank, or 0. A byte budget is not looked at any more.
 * Error memory, step and statistics go on. A factor that grows keeps its columns and gets random ones; one that shrinks keeps
 * its strongest directions (singular vectors). Engines are chosen anew for new shapes. While it works, the reducer takes its
 * device memory twice. Errors: as psgd_reducer_create(); PSGD_ERR_POISONED. */
PSGD_API psgd_status_t psgd_reducer_set_ranks(psgd_reducer_t *reducer, const uint32_t *ranks, size_t num_tensors);

/* A region of device memory: of the reducer's context, readable and writable. */
typedef struct psgd_region {
    cl_mem mem;
    size_t offset_bytes;
    size_t size_bytes; /* 1 or more */
} psgd_region_t;

/* Whether all workers hold the same bits of some regions, parameters for example: their hashes, computed on the devices, are compared. A
 * collective; every worker passes as many regions of the same sizes. Waits for the caller's queue. PSGD_ERR_DIVERGED names the first
 * region that differs, and the workers; the reducer goes on. Other errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_MISMATCH,
 * PSGD_ERR_HOST_MEMORY, PSGD_ERR_OPENCL, PSGD_ERR_COMM, PSGD_ERR_TIMEOUT, PSGD_ERR_POISONED; the same on all workers. */
PSGD_API psgd_status_t psgd_replica_check(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions);

/* The regions of worker `root` become those of all workers: at the beginning of training, and after replicas have parted. Regions of one
 * call do not overlap. A collective that moves all bytes through host memory, in pieces: their buffers have no CL_MEM_HOST_ flag. After
 * an error what the regions of workers other than root hold is unspecified. Errors: as psgd_replica_check(). */
PSGD_API psgd_status_t psgd_replica_sync(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions,
                                         uint32_t root);

/* Frees the reducer and what it holds on the device. Makes no collective call and never hangs: after a deadline has passed, memory that
 * an unfinished collective may still write to is left allocated. */
PSGD_API void psgd_reducer_destroy(psgd_reducer_t *reducer);

/* ------------------------------------------------------------------------------------------------------------------
 * 7. Statistics
 * ---------------------------------------------------------------------------------------------------------------- */

/* The phases of a step, in order: name, word, what it does. */
#define PSGD_PHASE_TABLE(ROW) \
    ROW(EXCHANGE_PLAIN, "exchange_plain", "averages what is not compressed and too large for the message of P") \
    ROW(ORTHONORMALIZE_Q, "orthonormalize_q", "makes the columns of Q orthonormal") \
    ROW(COMPUTE_P, "compute_p", "M = g + e; P = M Q") \
    ROW(REDUCE_P, "reduce_p", "message 1: P becomes the mean over the workers") \
    ROW(ORTHOGONALIZE_P, "orthogonalize_p", "P^ = orthogonalize(P)") \
    ROW(COMPUTE_Q, "compute_q", "Q_w = M^T P^") \
    ROW(REDUCE_Q, "reduce_q", "message 2: Q becomes the mean over the workers; the last vote") \
    ROW(DECOMPRESS, "decompress", "e = M - P^ Q_w^T; update = P^ Q^T")

typedef enum psgd_phase {
#define PSGD_PHASE_ROW(name_, word_, text_) PSGD_PHASE_##name_,
    PSGD_PHASE_TABLE(PSGD_PHASE_ROW)
#undef PSGD_PHASE_ROW
    PSGD_NUM_PHASES
} psgd_phase_t;

/* The word of a phase ("reduce_p"); "unknown" for other values. Static storage. */
PSGD_API const char *psgd_phase_name(psgd_phase_t phase);

typedef struct psgd_stats {
    size_t   struct_size;                  /* set by PSGD_STATS_INIT */
    uint64_t steps;                        /* committed steps, plain and compressed; the next step's number */
    uint64_t plain_steps;                  /* of these, before start_step */
    uint64_t skipped_steps;                /* that ended in PSGD_ERR_NONFINITE */
    uint64_t bytes_last_step;              /* handed to the communicator by this worker in the last committed step: the vector of an
                                            * all-reduce; half of what is sent and received in an exchange in 16 bits */
    uint64_t bytes_total;                  /* and in all steps */
    uint64_t messages_last_step;           /* collectives of the last committed step */
    uint64_t launches_last_step;           /* kernels enqueued in it; a call of CLBlast counts as one */
    uint64_t num_compressed_tensors;
    uint64_t num_plain_tensors;            /* that are never compressed */
    uint64_t uncompressed_elems;           /* N: elements of all tensors */
    uint64_t compressed_elems;             /* what a compressed step sends in their place; on average, with half-iterations */
    double   compression_rate;             /* uncompressed_elems / compressed_elems */
    uint64_t device_bytes;                 /* device memory held by the reducer */
    uint64_t ns_last_step;                 /* wall-clock time of the last committed step */
    uint64_t ns_total;
    uint64_t phase_ns_last[PSGD_NUM_PHASES];
    uint64_t phase_ns_total[PSGD_NUM_PHASES];
    double   update_norm;                  /* with max_norm: the 2-norm of the last update before it was clipped; else 0 */
    uint64_t clipped_steps;                /* committed steps whose update was clipped */
    uint64_t error_alarms;                 /* with energy_every: how often a log line warned of a growing error memory */
    uint64_t network_ns_last;              /* of the last committed step: while the host waited for other workers and the device had
                                            * nothing to do */
    uint64_t network_ns_total;
} psgd_stats_t;

#define PSGD_STATS_INIT { sizeof(psgd_stats_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, { 0 }, { 0 }, 0.0, 0, 0, 0, 0 }

/* Copies the statistics. Local; works on a poisoned reducer too. Errors: PSGD_ERR_INVALID_ARGUMENT. */
PSGD_API psgd_status_t psgd_reducer_get_stats(const psgd_reducer_t *reducer, psgd_stats_t *stats_p);

/* How one tensor is sent. */
typedef struct psgd_tensor_plan {
    size_t   struct_size;   /* set by PSGD_TENSOR_PLAN_INIT */
    uint64_t rows;          /* of its matrix; elements, for a tensor of one dimension */
    uint64_t cols;          /* 1 for a tensor of one dimension */
    uint32_t rank;          /* r_eff; 0: not compressed */
    uint64_t elems;         /* elements before */
    uint64_t sent_elems;    /* elements that a compressed step sends in their place; of a flattened tensor its share, rounded */
    psgd_engine_t engine;   /* that compresses it: clblast or fused; auto where it is not compressed */
    uint64_t batch;         /* how many such matrices it holds */
    int      is_copied;     /* 1: a step works on a copy of it (16 bits, a view that is not contiguous, flattened) */
} psgd_tensor_plan_t;

#define PSGD_TENSOR_PLAN_INIT { sizeof(psgd_tensor_plan_t), 0, 0, 0, 0, 0, PSGD_ENGINE_AUTO, 0, 0 }

/* How tensor `tensor_index` is sent. Local. Errors: PSGD_ERR_INVALID_ARGUMENT. */
PSGD_API psgd_status_t psgd_reducer_get_tensor_plan(const psgd_reducer_t *reducer, size_t tensor_index,
                                                    psgd_tensor_plan_t *plan_p);

/* How much of what was compressed the factors hold, over all workers. */
typedef struct psgd_energy {
    size_t   struct_size;    /* set by PSGD_ENERGY_INIT */
    uint64_t step;           /* that was measured */
    double   captured;       /* the sum over the workers of the squares of their factors */
    double   total;          /* the sum over the workers of |g + e|^2 */
    double   captured_share; /* captured / total, at most 1 */
    double   error_norm;     /* sqrt(total - captured over the number of workers): the 2-norm of an error memory after the step */
} psgd_energy_t;

#define PSGD_ENERGY_INIT { sizeof(psgd_energy_t), 0, 0.0, 0.0, 0.0, 0.0 }

/* What the last measured step found (psgd_config_t.energy_every), for one compressed tensor; tensor_index SIZE_MAX: for all of
 * them together. The same on all workers. Where the error memory has grown ten fold without falling once, and does not slow
 * down as one does that settles, a warning in the log says so. Local. Errors: PSGD_ERR_INVALID_ARGUMENT; PSGD_ERR_STATE where
 * nothing was measured yet, and for a tensor that is not compressed. */
PSGD_API psgd_status_t psgd_reducer_get_energy(const psgd_reducer_t *reducer, size_t tensor_index, psgd_energy_t *energy_p);

/* Which engine each shape of matrix has got, as text to keep and to hand to psgd_config_t.engine_profile another time: one line
 * a shape, "rows cols rank engine", after a line with the format's version. Ends in a 0.
 *
 *   text       room for `capacity` bytes; NULL with capacity 0 only asks for the size
 *   bytes_p    how many bytes the text has, the 0 included
 *
 * Local. Errors: PSGD_ERR_INVALID_ARGUMENT, also where capacity is too small; *bytes_p is written all the same. */
PSGD_API psgd_status_t psgd_reducer_get_profile(const psgd_reducer_t *reducer, char *text, size_t capacity,
                                                size_t *bytes_p);

/* ------------------------------------------------------------------------------------------------------------------
 * 8. State: what a reducer remembers between steps
 *
 * A psgd_state_t is a set of host arrays keyed by tensor name, that you get from a reducer, or fill in yourself:
 *   factor   Q of a compressed tensor, cols x rank, row-major; with half-iterations, where an even number of them was done,
 *            its P, rows x rank. Those of a batch of matrices one behind the other, as batch * cols (or rows) x rank
 *   error    the error memory of a compressed tensor, with the shape of the tensor
 *   step     how many steps were committed, and the seed; how many half-iterations
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct psgd_state psgd_state_t;

typedef enum psgd_error_form {
    PSGD_ERROR_NONE  = 0, /* no error memory: factors, step and seed alone */
    PSGD_ERROR_LOCAL = 1, /* this worker's own: continues exactly, on the same number of workers */
    PSGD_ERROR_MEAN  = 2  /* the mean over the workers: the same on all, continues on any number of workers */
} psgd_error_form_t;

/* An empty state; freed by psgd_state_destroy(). Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_HOST_MEMORY. */
PSGD_API psgd_status_t psgd_state_create(psgd_state_t **state_p);
PSGD_API void psgd_state_destroy(psgd_state_t *state);

/* Sets or replaces one item; the values are copied. Every value must be finite (PSGD_ERR_NONFINITE). */
PSGD_API psgd_status_t psgd_state_set_step(psgd_state_t *state, uint64_t step, uint64_t seed);
PSGD_API psgd_status_t psgd_state_set_half_iterations(psgd_state_t *state, uint64_t half_iterations);
PSGD_API psgd_status_t psgd_state_set_factor(psgd_state_t *state, const char *name, uint64_t cols, uint32_t rank,
                                             const float *q);
PSGD_API psgd_status_t psgd_state_set_error(psgd_state_t *state, const char *name, uint64_t num_elems,
                                            const float *error);

/* Reads one item. Pointers stay valid until the state is changed or destroyed. PSGD_ERR_STATE where it is not there. */
PSGD_API psgd_status_t psgd_state_get_step(const psgd_state_t *state, uint64_t *step_p, uint64_t *seed_p);
PSGD_API psgd_status_t psgd_state_get_half_iterations(const psgd_state_t *state, uint64_t *half_iterations_p);
PSGD_API psgd_status_t psgd_state_get_factor(const psgd_state_t *state, const char *name, uint64_t *cols_p,
                                             uint32_t *rank_p, const float **q_p);
PSGD_API psgd_status_t psgd_state_get_error(const psgd_state_t *state, const char *name, uint64_t *num_elems_p,
                                            const float **error_p);

/* Copies the reducer's state between two steps. *state_p is the caller's, freed by psgd_state_destroy(). With
 * PSGD_ERROR_MEAN it is a collective that moves N elements; every worker calls it. With error feedback off there is no
 * error to export, and none is. Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_HOST_MEMORY, PSGD_ERR_OPENCL,
 * PSGD_ERR_POISONED; with the mean those of a step too. */
PSGD_API psgd_status_t psgd_reducer_export_state(psgd_reducer_t *reducer, psgd_error_form_t form,
                                                 psgd_state_t **state_p);

/* Takes over what the state holds, and leaves alone what it does not; a factor may be imported alone. Local, but factors,
 * step and seed must be the same on all workers: the next step compares them. The next step uses an imported factor, also with cold
 * start. All of it fits, or nothing is changed: PSGD_ERR_STATE names the tensor that is unknown, not compressed, or of
 * another shape or rank. */
PSGD_API psgd_status_t psgd_reducer_import_state(psgd_reducer_t *reducer, const psgd_state_t *state);

/* Checkpoints: the whole state in files, saved and loaded by all workers together, between two steps.
 *
 *   PSGD_ERROR_MEAN    one file at `path`, the same for all workers, written by worker 0: continues on any number of workers, each
 *                      with the mean error memory. Saving moves N elements over the communicator
 *   PSGD_ERROR_LOCAL   a file a worker, "path.STEP.WORKER", and a manifest at `path`: continues bit for bit, on the same number of
 *                      workers, each of which finds its file again
 *
 * A save counts when all workers have voted for it: files are written beside their place, synced and renamed, the manifest last. Until
 * then, and where anything fails, `path` stands for the save before; afterwards that one's files are removed. Keep what else belongs
 * to a checkpoint (parameters, the optimizer's state) beside it. docs/checkpoints.md has the format.
 *
 * Collectives. Errors, the same on all workers, with the names of those that failed: PSGD_ERR_FILE, PSGD_ERR_INVALID_ARGUMENT,
 * PSGD_ERR_HOST_MEMORY, PSGD_ERR_POISONED; those of an export. */
PSGD_API psgd_status_t psgd_reducer_save(psgd_reducer_t *reducer, const char *path, psgd_error_form_t form);

/* Every worker reads `path` (and its own file): from one file system, or from copies that are equal. A file that is cut short, damaged,
 * foreign, of a newer version or of another model is refused by all workers, and the reducer is as before. Errors: as above,
 * and PSGD_ERR_STATE where it does not fit, PSGD_ERR_MISMATCH where the workers read different files, PSGD_ERR_UNSUPPORTED where a
 * newer version wrote it. */
PSGD_API psgd_status_t psgd_reducer_load(psgd_reducer_t *reducer, const char *path);

/* ------------------------------------------------------------------------------------------------------------------
 * 9. Environment variables and version
 * ---------------------------------------------------------------------------------------------------------------- */

/* One environment variable that the library reads. Static storage. */
typedef struct psgd_env_info {
    const char *name;
    const char *value;       /* as it is set now; NULL if it is not, and in a program with raised privileges */
    const char *meaning;
} psgd_env_info_t;

/* Variable number `index`, from 0. Returns 1 and writes *info_p, or 0 behind the last one. */
PSGD_API int psgd_env_get(size_t index, psgd_env_info_t *info_p);

#define PSGD_VERSION_MAJOR  0
#define PSGD_VERSION_MINOR  1
#define PSGD_VERSION_PATCH  0
#define PSGD_VERSION_STRING "0.1.0"

/* The version of the library that is loaded, "0.1.0"; this header's is PSGD_VERSION_STRING. */
PSGD_API const char *psgd_version_string(void);

#ifdef __cplusplus
}
#endif

#endif /* PSGD_PSGD_H */
