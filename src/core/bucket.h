/* Buckets: runs of tensors, each compressed and exchanged by itself, so that one can travel while the next is computed. What lasts
 * between steps (factors, error memories, the plan) belongs to the reducer; what a step needs of it for some tensors is here, as if
 * these were all there are: indices and offsets begin at 0. A reducer has one bucket, or several (config.bucket_bytes). */
#ifndef PSGD_CORE_BUCKET_H
#define PSGD_CORE_BUCKET_H

#include "core/phases.h"
#include "core/reducer.h"
#include "device/gate.h"
#include "ops/orthogonalize.h"
#include "ops/pack.h"
#include "ops/rescale.h"

/* Who makes what all must hold alike: core/owners.h. */
typedef struct psgd_owners psgd_owners_t;

/* Copies of gradients that a step works on: core/copies.h. */
typedef struct psgd_copies psgd_copies_t;

struct psgd_bucket {
    psgd_reducer_t *reducer;
    psgd_plan_t    *plan;         /* of its tensors; the reducer's own where there is one bucket */
    size_t          first_tensor; /* of the reducer's plan; plan->first_matrix goes with it */

    /* Its parts of the reducer's device buffers. */
    psgd_view_t message_1_view; /* P; with one bucket, the small tensors behind it */
    psgd_view_t small;          /* the small tensors of message 1 */
    psgd_view_t p_hat;
    psgd_view_t q;
    psgd_view_t q_hat;
    psgd_view_t q_local;

    /* And of its host arrays. */
    float               *factor;
    float               *factor_scaled;
    psgd_update_scale_t *scales;       /* of the update, by matrix index */
    psgd_view_t         *given;        /* gradients of the step under way, by tensor index: the caller's */
    psgd_view_t         *grads;        /* and those that it works on */
    psgd_view_t         *matrix_grads; /* the same by matrix index */

    psgd_engines_t        *engines; /* NULL where nothing is compressed */
    psgd_orthogonalizer_t *orthogonalizer_p;
    psgd_orthogonalizer_t *orthogonalizer_q;
    psgd_packer_t         *packer;  /* NULL where there are no small tensors */
    psgd_stager_t         *stager;  /* NULL where nothing travels but large tensors */
    psgd_copies_t         *copies;  /* NULL: steps work on the caller's gradients themselves */
    psgd_rescale_t        *rescale; /* made by the first step that scales gradients, or lacks some */
    psgd_owners_t *owners; /* NULL: each worker makes factors orthonormal for itself, and sums are all-reduces */

    psgd_message_t message_1;     /* P and the small tensors */
    psgd_message_t message_2;     /* Q */
    psgd_message_t message_large; /* the large uncompressed tensors */

    /* The step under way. */
    psgd_gate_t        gate;           /* what its gradients wait for */
    size_t             num_missing;    /* tensors that were not submitted yet */
    size_t             num_behind;     /* of those submitted: which come after nothing but the caller's own queue */
    bool               has_p;          /* P is enqueued */
    psgd_mark_t        q_hat_mark;     /* reached when Q^ is there; set where P may be enqueued elsewhere */
    psgd_mark_t        large_mark;     /* reached when the large tensors are in their message */
    psgd_staged_read_t read_1, read_2; /* of factors into the messages */
    uint64_t           p_hat_hash;     /* computed on the device */
};

/* Divides the plan and makes all that does not need the other workers; the device buffers of the reducer are there. */
psgd_status_t psgd_buckets_create(psgd_reducer_t *reducer);

/* keep_memory: of what the device may still touch. */
void psgd_buckets_destroy(psgd_reducer_t *reducer, psgd_device_t *device, bool keep_memory);

/* The reducer that they belong to has moved. */
void psgd_buckets_adopt(psgd_reducer_t *reducer);

/* Runs its kernels once, on zeros: drivers compile a kernel when it is first enqueued. Does not wait. */
psgd_status_t psgd_bucket_warm_up(psgd_bucket_t *bucket);

/* Its number among the buckets of its reducer. */
uint64_t psgd_bucket_index(const psgd_bucket_t *bucket);

/* Where everything of the step under way lies, for the engines. */
psgd_step_views_t psgd_bucket_views(const psgd_bucket_t *bucket);

/* psgd_reducer_hash_bits() with this bucket's factors alone. */
uint64_t psgd_bucket_hash_bits(const psgd_bucket_t *bucket);

/* Where the gradients are that the step works on, once they are there: waits (on the device) for what they wait for, copies and scales
 * what has to be. */
psgd_status_t psgd_bucket_take_gradients(psgd_bucket_t *bucket);

/* What the orthogonalizer of a kind of factors is told about a matrix. */
psgd_columns_t psgd_bucket_columns_of(const psgd_bucket_t *bucket, size_t matrix_index, bool is_p);

/* The means of the uncompressed small tensors, in message 1. */
float *psgd_bucket_small_means(const psgd_bucket_t *bucket);

/* As psgd_phase_compute() and psgd_phase_exchange(), of one bucket. */
typedef psgd_status_t (*psgd_bucket_compute_fn)(psgd_bucket_t *bucket);
typedef void (*psgd_bucket_exchange_fn)(psgd_bucket_t *bucket);
void psgd_bucket_compute(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_compute_fn compute);
void psgd_bucket_exchange(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_exchange_fn exchange);

#endif
