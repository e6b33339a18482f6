/* The reducer: all that lives from creation to destruction. */
#ifndef PSGD_CORE_REDUCER_H
#define PSGD_CORE_REDUCER_H

#include "base/clock.h"
#include "base/log.h"
#include "comm/staging.h"
#include "comm/wait.h"
#include "core/message.h"
#include "core/vote.h"
#include "device/arena.h"
#include "device/buffer.h"
#include "device/device.h"
#include "ops/engines.h"
#include "ops/hash.h"
#include "plan/plan.h"

enum {
    PSGD_SENTENCE_BYTES           = 1024,
    PSGD_GATHER_WORDS             = 4,
    PSGD_DEFAULT_WARN_SECONDS     = 60,
    PSGD_DEFAULT_DEADLINE_SECONDS = 600
};

/* An optimizer's step, and what it needs: core/update.h. */
typedef struct psgd_update  psgd_update_t;
typedef struct psgd_updater psgd_updater_t;

/* The step under way. */
typedef struct psgd_step {
    bool               is_open;                         /* begun, and not ended */
    bool               is_at_once;                      /* all gradients came in one call, which waits */
    bool               is_deferred;                     /* its end does not wait for the device */
    psgd_status_t      local;                           /* this worker's first failure; told in the next vote */
    char               sentence[PSGD_SENTENCE_BYTES];   /* of that failure */
    psgd_status_t      agreed;                          /* what all workers ended the step with; PSGD_OK: it goes on */
    const float
        *factors; /* by tensor index: what gradients are multiplied by, 0 for those that are not there; NULL: they
                                   * are all there as they are */
    const psgd_update_t *update;  /* what it does to parameters; NULL: the gradients become the update */
    uint64_t           start_ns;
    uint64_t           bytes;                           /* handed to the communicator */
    uint64_t           messages;
    uint64_t           launches_before;                 /* psgd_device_launches() at its start */
    bool               has_changed_state;               /* lazy form: pass A was enqueued here */
    double               update_norm; /* of all tensors together, before clipping; 0: not measured */
    float                clip;        /* what the update is multiplied by */
    uint64_t           phase_ns[PSGD_NUM_PHASES];
    uint64_t             network_ns;    /* waiting for other workers, with nothing for the device to do */
    uint64_t             idle_since_ns; /* in such a wait; 0: the device has something to do */
    uint32_t             differing;                       /* workers that were found to differ from worker 0 */
} psgd_step_t;

/* Why a reducer cannot go on. */
typedef struct psgd_poison {
    psgd_status_t status;                         /* PSGD_OK: it can */
    char          sentence[PSGD_SENTENCE_BYTES];
    bool          is_told;                        /* the other workers know, or cannot be told */
    bool          is_cut_off;                     /* the communicator failed: nothing can be sent or awaited any more */
} psgd_poison_t;

/* Memory of the caller's that all workers should hold alike: core/replicas.h. */
typedef struct psgd_replica psgd_replica_t;

/* A run of tensors that is compressed and exchanged by itself: core/bucket.h. */
typedef struct psgd_bucket psgd_bucket_t;

/* In which order they go through a step: core/pipeline.h. */
typedef struct psgd_pipeline psgd_pipeline_t;

/* What a trace of steps needs: core/spans.h. */
typedef struct psgd_spans psgd_spans_t;

/* The thread that goes on with steps: core/progress.h. */
typedef struct psgd_progress psgd_progress_t;

/* The error memory in 16 bits: core/half_errors.h. */
typedef struct psgd_half_errors psgd_half_errors_t;

/* What alternating half-iterations need: core/alternate.h. */
typedef struct psgd_alternation psgd_alternation_t;

/* What measures captured energy: core/energy.h. */
typedef struct psgd_energy_meter psgd_energy_meter_t;

struct psgd_reducer {
    psgd_log_t         log;
    psgd_config_t      config;
    psgd_patience_t    patience;
    const psgd_comm_t *comm;
    psgd_device_t     *device;
    psgd_plan_t       *plan;
    uint64_t           fingerprint;
    bool               is_mixed; /* the workers' devices or drivers differ */
    psgd_form_t        form;     /* what is done with the error; see ops/engine.h */

    /* Device memory: 2 P-sized and 3 Q-sized buffers, and the error memory.
     *
     *   message_1_view [ P of all matrices | small tensors ]   what message 1 carries
     *   p_hat       [ P^ of all matrices ]
     *   q           [ Q, then Qbar scaled for the update | scales of the update ]
     *   q_hat       [ Q^ of all matrices ]
     *   q_local     [ Q_w of all matrices ]                    what message 2 carries
     *   error_arena the error memories, in as few buffers as the device's largest allocation allows; M and not e between
     *               the steps of the lazy form
     *
     * With alternating half-iterations either factor may be the one that comes and goes: message_1_view has room for both, and
     * serves as q_local; q has room for those of a whole step.
     */
    psgd_arena_t error_arena;
    psgd_view_t *errors; /* by matrix index, in the arena; all zero without error feedback */
    psgd_view_t  message_1_view;
    psgd_view_t  p_hat;
    psgd_view_t  q;
    psgd_view_t  q_hat;
    psgd_view_t  q_local;

    psgd_bucket_t   *buckets; /* in the order of the plan; steps take the last one first */
    size_t           num_buckets;
    psgd_pipeline_t *pipeline; /* the order of their parts in a step */
    psgd_engine_t   *choices;  /* by matrix index; PSGD_ENGINE_AUTO: not decided yet */
    psgd_hasher_t   *hasher;

    /* Host memory. */
    float               *factor; /* Q that the next step starts from, r x cols each, laid out as on the device; or P */
    float               *factor_scaled; /* Qbar scaled for the update and, behind it, the scales, until the device has them */
    psgd_update_scale_t *update_scales; /* in factor_scaled, by matrix index */
    bool                *is_imported;   /* by matrix index: the next step uses `factor` even with cold start */
    psgd_gather_t        gather;        /* for PSGD_GATHER_WORDS of each worker */
    psgd_message_t message_chunk; /* a piece of a plain step, of an exported error memory, of factors that are shared */

    /* For psgd_reducer_step_host(): a device copy of the gradients, made by the first such step. */
    psgd_view_t *host_grads;  /* by tensor index; NULL before */
    psgd_view_t *grads;       /* the caller's, by tensor index, during a step */

    psgd_view_t *step_grads; /* of the step under way, by tensor index: the caller's, or the copies that it works on */
    psgd_view_t *matrix_grads; /* and by matrix index */
    bool        *is_submitted; /* by tensor index */
    psgd_mark_t  given;        /* reached when the update is there that psgd_reducer_wait() has not waited for */

    /* What the doors of a step note of its gradients and options, by tensor index. */
    psgd_view_t   *places; /* in whole buffers */
    bool          *is_placed;
    bool           has_moved;   /* one of them lies elsewhere than in the last step */
    float        **host_places; /* where a gradient and its update lie in host memory; NULL: in device memory */
    psgd_update_t *update;      /* the step's, where it has one */

    psgd_spans_t    *spans;    /* NULL: no trace */
    psgd_progress_t *progress; /* NULL: steps go on when the library is called */

    psgd_half_errors_t *half_errors; /* NULL: the error memory is in single precision, or there is none */

    psgd_alternation_t *alternation;          /* NULL: full iterations */
    uint64_t            half_iterations_done; /* of committed steps; even: the next starts from a P, odd: from a Q */

    psgd_energy_meter_t *energy;      /* NULL: not measured */
    psgd_updater_t      *updater;     /* made by the first step that updates parameters */
    psgd_view_t         *param_views; /* room for the views of an update, 3 by tensor index */
    float               *factors;     /* of the gradients of a step, by tensor index */

    psgd_replica_t *checked; /* room for the regions of config.check_every, by tensor index; and for their hashes */
    uint64_t       *check_hashes;
    uint64_t        means_hash; /* of all means that plain steps have brought */
    uint64_t        check_hash; /* of the last checked step's update; 0: none was */
    uint64_t        check_step; /* which */

    uint64_t      step_number; /* committed steps */
    psgd_poison_t poison;
    psgd_step_t   step;
    psgd_stats_t  stats;
    psgd_stats_t  stats_logged; /* as they were when config.log_every last wrote a line */
    uint64_t      steps_unlogged; /* committed since then */
};

/* What a reducer is made from; the caller keeps it. */
typedef struct psgd_reducer_parts {
    const psgd_tensor_t *tensors; /* num_tensors of the current struct size */
    size_t               num_tensors;
    const psgd_config_t *config;
    const psgd_comm_t   *comm;
    psgd_device_t       *device; /* becomes the reducer's where creation succeeds */
    bool                 is_successor; /* of a reducer whose trace and thread it will take over */
} psgd_reducer_parts_t;

/* The local part of creation: everything but the agreement with the other workers. */
psgd_status_t psgd_reducer_build(const psgd_reducer_parts_t *parts, psgd_reducer_t **reducer_p);

/* Frees everything that was built, in a reducer that may be incomplete; its buffers are those of `device`, which is closed where
 * it is the reducer's own. */
void psgd_reducer_release(psgd_reducer_t *reducer, psgd_device_t *device);

/* Records why the reducer cannot go on, with the last error as its sentence; the first reason stays. */
void psgd_reducer_poison(psgd_reducer_t *reducer, psgd_status_t status, bool is_told);

/* PSGD_OK, or PSGD_ERR_POISONED with the reason in words. */
psgd_status_t psgd_reducer_check_poison(const psgd_reducer_t *reducer);

/* Waits for the update of a step that was ended without waiting, if there is one; poisons where it fails. */
void psgd_reducer_settle(psgd_reducer_t *reducer);

/* What the error memory of a matrix takes; bytes of an element. */
size_t psgd_reducer_error_elem_bytes(const psgd_reducer_t *reducer);

/* Zeroes the error memory. Waits; poisons where it fails. */
psgd_status_t psgd_reducer_zero_errors(psgd_reducer_t *reducer);

/* Lazy form: the error memory holds e itself until the next step; for export and import. Waits; poisons where it fails. */
psgd_status_t psgd_reducer_settle_errors(psgd_reducer_t *reducer);

/* Whether the next step starts from P, r x rows, and not from Q. */
bool psgd_reducer_starts_from_p(const psgd_reducer_t *reducer);

/* Elements of the factors that a step may start from; of those that the next one does; of all that the update is made from. */
uint64_t psgd_reducer_factor_room(const psgd_reducer_t *reducer);
uint64_t psgd_reducer_factor_elems(const psgd_reducer_t *reducer);
uint64_t psgd_reducer_update_elems(const psgd_reducer_t *reducer);

/* The hash of the factors that the next step starts from. */
uint64_t psgd_reducer_hash_factor(const psgd_reducer_t *reducer);

/* The hash of what workers hold alike before a step: these factors, the means of plain steps, and the update that was checked last. */
uint64_t psgd_reducer_hash_bits(const psgd_reducer_t *reducer);

/* The first factor of a matrix, or a fresh one for `step`, into its place of reducer->factor. */
void psgd_reducer_draw_factor(psgd_reducer_t *reducer, size_t matrix_index, uint64_t step);

#endif
