#include "resuming.h"

#include <stdlib.h>

#include "averaging.h"
#include "saved.h"

/* Whether all workers have come through; where none has, or worker 0 has not, worker 0 says why. A collective. */
static tool_status_t end_together(const workers_t *workers, tool_status_t mine)
{
    bool          equal  = false;
    tool_status_t status = workers_are_equal(workers, mine == TOOL_OK, &equal);

    if (status != TOOL_OK || (equal && mine == TOOL_OK)) {
        return status;
    }
    if (mine == TOOL_OK) {
        return tool_fail(TOOL_ALL_FAILED, "another worker failed");
    }
    return equal || workers_is_speaker(workers) ? TOOL_ALL_FAILED : mine;
}

/* Room for what goes on from step to step in the networks of all workers. */
static tool_status_t allocate_states(const trainer_t *trainer, saved_states_t *states_p)
{
    states_p->count  = trainer->workers->count * network_state_elems(&trainer->network);
    states_p->values = NULL;
    return tool_alloc(states_p->count, sizeof(*states_p->values), "the workers' states", &states_p->values);
}

static float *state_of_mine(const trainer_t *trainer, saved_states_t states)
{
    return states.values + trainer->workers->index * network_state_elems(&trainer->network);
}

/* Each worker's in its place; in the others' it has zeros, so their sum is what they are. A collective. */
static tool_status_t gather_states(const trainer_t *trainer, saved_states_t states)
{
    tool_status_t status = network_read_state(&trainer->network, state_of_mine(trainer, states));

    status = end_together(trainer->workers, status);
    return status == TOOL_OK && states.count > 0 ? workers_sum_floats(trainer->workers, states.values, states.count)
                                                 : status;
}

/* The parameters first: where that fails, the save before is still whole. */
tool_status_t resuming_save(const trainer_t *trainer, psgd_reducer_t *reducer, uint64_t done)
{
    const options_t  *options = trainer->options;
    psgd_error_form_t form    = options->save_form == 0 ? PSGD_ERROR_LOCAL : PSGD_ERROR_MEAN;
    saved_states_t    states  = {NULL, 0};
    tool_status_t     status  = end_together(trainer->workers, allocate_states(trainer, &states));

    if (status == TOOL_OK) {
        status = gather_states(trainer, states);
    }
    if (status == TOOL_OK && workers_is_speaker(trainer->workers)) {
        status = saved_write(options->save, &trainer->network.params, states, done, options_hash(options));
    }
    free(states.values);
    status = end_together(trainer->workers, status);
    return status == TOOL_OK ? tool_check(psgd_reducer_save(reducer, options->save, form), "saving the reducer")
                             : status;
}

/* Parameters, velocities, and this worker's state. */
static tool_status_t read_saved(const trainer_t *trainer, uint64_t *step_p)
{
    const options_t *options = trainer->options;
    saved_states_t   states  = {NULL, 0};
    tool_status_t    status  = allocate_states(trainer, &states);

    if (status == TOOL_OK) {
        status = saved_read(options->resume, &trainer->network.params, states, options_hash(options), step_p);
    }
    if (status == TOOL_OK) {
        status = network_write_state(&trainer->network, state_of_mine(trainer, states));
    }
    free(states.values);
    return status;
}

tool_status_t resuming_load(const trainer_t *trainer, psgd_reducer_t *reducer, uint64_t *step_p)
{
    const options_t *options = trainer->options;
    psgd_stats_t     stats   = PSGD_STATS_INIT;
    tool_status_t    status  = read_saved(trainer, step_p);

    status = end_together(trainer->workers, status);
    if (status == TOOL_OK && options->new_rank > 0 && *step_p > options->new_rank_step) {
        status = averaging_change_rank(trainer, reducer); /* as it was when the run was saved */
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_load(reducer, options->resume), "loading the reducer");
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_get_stats(reducer, &stats), "reading the statistics");
    }
    if (status == TOOL_OK && stats.steps != *step_p) {
        status = tool_fail(TOOL_FAILED,
                           "'%s' is at step %llu, and the parameters beside it at step %llu: a save was cut short",
                           options->resume, (unsigned long long)stats.steps, (unsigned long long)*step_p);
    }
    return status;
}
