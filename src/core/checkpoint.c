/* The mean form is one file, the same for all: worker 0 writes it. The exact form is a file a worker, "PATH.STEP.WORKER", and a
 * manifest at PATH that names step and save: worker 0 renames it into place when all files are on the disk, and not before. Then the
 * files of the save before go. Whatever fails, and whenever: PATH stands for a whole save, the old one or the new. */
#include "core/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/checkpoint_format.h"
#include "core/exchange.h"
#include "core/state.h"

enum { SUFFIX_BYTES = 48 };

/* ---- votes ---- */

/* What each worker tells: its status, and what must be equal. */
enum { TOLD_STATUS, TOLD_MARK, NUM_TOLD };

static psgd_status_t name_failures(const psgd_reducer_t *r, const uint64_t *told, psgd_status_t local, const char *own,
                                   const char *doing)
{
    char          names[256] = "";
    size_t        used       = 0;
    psgd_status_t status     = PSGD_OK;

    for (uint32_t w = 0; w < r->comm->num_workers; ++w) {
        psgd_status_t theirs = (psgd_status_t) - (int64_t)told[NUM_TOLD * w + TOLD_STATUS];

        if ((theirs != PSGD_OK) && (used < sizeof(names) - 64)) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%sworker %u (%s)", used > 0 ? ", " : "", w,
                                     psgd_status_string(theirs));
        }
        status = status == PSGD_OK ? theirs : status;
    }
    return status == PSGD_OK
               ? PSGD_OK
               : psgd_fail(status, "%s failed on %s%s%s", doing, names, local != PSGD_OK ? "; here: " : "", own);
}

/* Every worker comes here, and leaves with the same status. The marks of all must be equal, where they ask for it. */
static psgd_status_t vote(psgd_reducer_t *r, psgd_status_t local, uint64_t mark, bool marks_are_equal,
                          const char *doing)
{
    const uint64_t own[NUM_TOLD] = {(uint64_t) - (int64_t)local, mark};
    const uint64_t *told          = r->gather.words;
    char            sentence[PSGD_SENTENCE_BYTES];
    psgd_status_t   status;

    snprintf(sentence, sizeof(sentence), "%s", local != PSGD_OK ? psgd_last_error() : "");
    status = psgd_gather_words(&r->gather, r->comm, own, NUM_TOLD, r->patience, &r->log, doing);
    if (status != PSGD_OK) { /* nobody can be told any more */
        psgd_reducer_poison(r, status, true);
        r->poison.is_cut_off = true;
        r->comm->abort(r->comm->self);
        return status;
    }
    status = name_failures(r, told, local, sentence, doing);
    for (uint32_t w = 1; (status == PSGD_OK) && marks_are_equal && (w < r->comm->num_workers); ++w) {
        if (told[NUM_TOLD * w + TOLD_MARK] != told[TOLD_MARK]) {
            status = psgd_fail(PSGD_ERR_MISMATCH, "%s: workers 0 and %u have different files", doing, w);
        }
    }
    return status;
}

/* ---- names ---- */

/* "PATH.STEP.WORKER"; freed by psgd_free(). */
static psgd_status_t name_part(const char *path, uint64_t step, uint32_t worker, char **name_p)
{
    size_t        bytes  = strlen(path) + SUFFIX_BYTES;
    psgd_status_t status = psgd_alloc(bytes, 1, "the name of a file", name_p);

    if (status == PSGD_OK) {
        snprintf(*name_p, bytes, "%s.%" PRIu64 ".%u", path, step, worker);
    }
    return status;
}

static psgd_status_t read_file(const char *path, psgd_checkpoint_info_t *info, uint32_t *crc_p, psgd_state_t **state_p)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;
    psgd_status_t  status;

    status = psgd_file_read(path, &bytes, &count);
    if (status != PSGD_OK) {
        return status;
    }
    *crc_p = psgd_crc32c(0, bytes, count);
    status = psgd_checkpoint_decode(bytes, count, path, info, state_p);
    psgd_free(bytes);
    return status;
}

/* ---- save ---- */

/* The save that PATH stands for. */
typedef struct old_save {
    bool     is_unknown; /* there is a file, and it could not be read */
    bool     exists;     /* it is one of files of workers */
    uint64_t step;
    uint32_t num_workers;
} old_save_t;

static old_save_t find_old_save(const char *path)
{
    old_save_t             old = {false, false, 0, 0};
    psgd_checkpoint_info_t info;
    psgd_state_t          *state = NULL;
    uint32_t               crc;

    if (psgd_file_exists(path)) {
        old.is_unknown = read_file(path, &info, &crc, &state) != PSGD_OK;
        if (!old.is_unknown && (info.form == PSGD_ERROR_NONE)) {
            old = (old_save_t){false, true, state->step, info.num_workers};
        }
    }
    psgd_state_destroy(state);
    return old;
}

/* Whether the manifest names the files of this step: it may after a failed save, too, where only its directory could not be synced. */
static bool may_stand_for(const char *path, uint64_t step)
{
    const old_save_t save = find_old_save(path);

    return save.is_unknown || (save.exists && (save.step == step));
}

static void remove_part(const char *path, uint64_t step, uint32_t worker)
{
    char *name = NULL;

    if (name_part(path, step, worker, &name) == PSGD_OK) {
        psgd_file_remove(name);
    }
    psgd_free(name);
}

/* Its share of the files of a save that PATH does not stand for any more. */
static void remove_old_parts(const psgd_reducer_t *r, const char *path, const old_save_t *old)
{
    for (uint64_t w = r->comm->worker_index; old->exists && (w < old->num_workers); w += r->comm->num_workers) {
        remove_part(path, old->step, (uint32_t)w);
    }
}

static psgd_status_t write_state(const char *path, const psgd_state_t *state, const psgd_checkpoint_info_t *info)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;
    psgd_status_t  status;

    status = psgd_checkpoint_encode(state, info, &bytes, &count);
    if (status == PSGD_OK) {
        status = psgd_file_write(path, bytes, count);
    }
    psgd_free(bytes);
    return status;
}

static psgd_status_t write_manifest(const psgd_reducer_t *r, const char *path, const psgd_checkpoint_info_t *info)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;
    psgd_status_t  status;

    status = psgd_checkpoint_encode_manifest(info, r->step_number, &bytes, &count);
    if (status == PSGD_OK) {
        status = psgd_file_write(path, bytes, count);
    }
    psgd_free(bytes);
    return status;
}

/* Before anything that only one of the forms does. */
static psgd_status_t agree_on_form(psgd_reducer_t *r, psgd_error_form_t form, psgd_status_t local)
{
    psgd_status_t status = vote(r, local, (uint64_t)form, true, "psgd_reducer_save");

    if ((status == PSGD_ERR_MISMATCH) && (local == PSGD_OK)) {
        return psgd_fail(PSGD_ERR_MISMATCH,
                         "psgd_reducer_save: some workers ask for PSGD_ERROR_MEAN and some for PSGD_ERROR_LOCAL");
    }
    return status;
}

/* The last step's factors have not been compared by a message of a next one. */
static psgd_status_t compare_bits(psgd_reducer_t *r, psgd_status_t local)
{
    psgd_status_t status = vote(r, local, psgd_hash_u64(psgd_reducer_hash_bits(r), r->step_number), true,
                                "gathering what a checkpoint holds");

    if ((status == PSGD_ERR_MISMATCH) && (local == PSGD_OK)) {
        return psgd_fail(PSGD_ERR_DIVERGED,
                         "the workers hold different factors, or are at different steps, and save nothing: they "
                         "have parted in step %" PRIu64 " or since",
                         r->step_number == 0 ? 0 : r->step_number - 1);
    }
    return status;
}

static psgd_status_t save_mean(psgd_reducer_t *r, const char *path, const psgd_state_t *state,
                               psgd_checkpoint_info_t *info, const old_save_t *old)
{
    psgd_status_t status;

    info->worker_index = 0;
    status             = r->comm->worker_index == 0 ? write_state(path, state, info) : PSGD_OK;
    status             = vote(r, status, 0, false, "writing a checkpoint");
    if (status == PSGD_OK) {
        remove_old_parts(r, path, old);
    }
    return status;
}

static psgd_status_t save_parts(psgd_reducer_t *r, const char *path, const psgd_state_t *state,
                                const psgd_checkpoint_info_t *info, const old_save_t *old)
{
    bool          is_same = old->exists && (old->step == r->step_number); /* then the files are the same, too */
    char         *name    = NULL;
    psgd_status_t status;

    status = name_part(path, r->step_number, r->comm->worker_index, &name);
    if (status == PSGD_OK) {
        status = write_state(name, state, info);
    }
    psgd_free(name);
    status = vote(r, status, 0, false, "writing the workers' files of a checkpoint");
    if (status == PSGD_OK) {
        status = r->comm->worker_index == 0 ? write_manifest(r, path, info) : PSGD_OK;
        status = vote(r, status, 0, false, "writing the manifest of a checkpoint");
    }
    if ((status == PSGD_OK) && !is_same) {
        remove_old_parts(r, path, old);
    }
    /* Nothing is removed while nobody can know how far worker 0 has come. */
    if ((status != PSGD_OK) && !r->poison.is_cut_off && !may_stand_for(path, r->step_number)) {
        remove_part(path, r->step_number, r->comm->worker_index);
    }
    return status;
}

psgd_status_t psgd_checkpoint_save(psgd_reducer_t *r, const char *path, psgd_error_form_t form, psgd_status_t local)
{
    psgd_checkpoint_info_t info   = {form, r->comm->num_workers, r->comm->worker_index, 0};
    psgd_state_t          *state  = NULL;
    psgd_status_t          status = local;
    old_save_t             old    = {false, false, 0, 0};

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) { /* before the first vote: behind it another worker may have replaced it */
        old = find_old_save(path);
    }
    status = agree_on_form(r, form, status);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_reducer_state_export(r, form, &state); /* a collective, in the mean form */
    if (r->poison.is_told) {
        psgd_state_destroy(state);
        return status;
    }
    status = compare_bits(r, status); /* a failure of any worker's comes first: what worker 0 writes, all can write */
    if (status != PSGD_OK) {
        psgd_state_destroy(state);
        return status;
    }
    info.save_id = psgd_hash_u64(psgd_reducer_hash_factor(r), psgd_hash_u64(r->step_number, r->comm->num_workers));
    status = form == PSGD_ERROR_MEAN ? save_mean(r, path, state, &info, &old) : save_parts(r, path, state, &info, &old);
    psgd_state_destroy(state);
    return status;
}

/* ---- load ---- */

/* A checkpoint holds everything, where a state that is imported may hold a part. */
static psgd_status_t check_complete(const psgd_reducer_t *r, const psgd_state_t *state, const char *path)
{
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const char               *name  = r->plan->matrices[m].name;
        const psgd_state_entry_t *entry = psgd_state_find(state, name);

        if ((r->config.warm_start && ((entry == NULL) || (entry->rank == 0))) ||
            (r->config.error_feedback && ((entry == NULL) || (entry->error_elems == 0)))) {
            return psgd_fail(PSGD_ERR_STATE, "'%s' lacks the %s of '%s': was it saved with other options?", path,
                             (entry != NULL) && (entry->rank > 0) ? "error memory" : "factor", name);
        }
    }
    return PSGD_OK;
}

/* This worker's file of a save in the exact form. */
static psgd_status_t read_part(const psgd_reducer_t *r, const char *path, const psgd_checkpoint_info_t *manifest,
                               uint64_t step, psgd_state_t **state_p)
{
    psgd_checkpoint_info_t info;
    psgd_state_t          *state = NULL;
    char                  *name  = NULL;
    uint32_t               crc;
    psgd_status_t          status;

    if (manifest->num_workers != r->comm->num_workers) {
        return psgd_fail(
            PSGD_ERR_STATE,
            "'%s' was saved by %u workers in the exact form, which continues on as many only; there are %u "
            "(save with PSGD_ERROR_MEAN to continue on any number)",
            path, manifest->num_workers, r->comm->num_workers);
    }
    status = name_part(path, step, r->comm->worker_index, &name);
    if (status == PSGD_OK) {
        status = read_file(name, &info, &crc, &state);
    }
    if ((status == PSGD_OK) && ((info.form != PSGD_ERROR_LOCAL) || (info.worker_index != r->comm->worker_index) ||
                                (info.save_id != manifest->save_id) || (state->step != step))) {
        status = psgd_fail(PSGD_ERR_FILE, "'%s' does not belong to '%s'", name, path);
    }
    psgd_free(name);
    if (status != PSGD_OK) {
        psgd_state_destroy(state);
        return status;
    }
    *state_p = state;
    return PSGD_OK;
}

/* The state that PATH stands for; *mark_p: what must be the same on all workers. */
static psgd_status_t read_state(const psgd_reducer_t *r, const char *path, uint64_t *mark_p, psgd_state_t **state_p)
{
    psgd_checkpoint_info_t info;
    psgd_state_t          *state = NULL;
    uint32_t               crc   = 0;
    psgd_status_t          status;

    status = read_file(path, &info, &crc, &state);
    if (status != PSGD_OK) {
        return status;
    }
    *mark_p = crc;
    if (info.form == PSGD_ERROR_MEAN) {
        *state_p = state;
        return PSGD_OK;
    }
    if (info.form == PSGD_ERROR_LOCAL) {
        status = psgd_fail(PSGD_ERR_FILE,
                           "'%s' is the file of worker %u alone: load the manifest, whose name it begins with", path,
                           info.worker_index);
    } else {
        status = read_part(r, path, &info, state->step, state_p);
    }
    psgd_state_destroy(state);
    return status;
}

psgd_status_t psgd_checkpoint_load(psgd_reducer_t *r, const char *path, psgd_status_t local)
{
    psgd_state_t *state  = NULL;
    uint64_t      mark   = 0;
    psgd_status_t status = local;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = read_state(r, path, &mark, &state);
    }
    if (status == PSGD_OK) {
        status = check_complete(r, state, path);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_state_check(r, state);
    }
    status = vote(r, status, mark, true, "loading a checkpoint");
    if (status == PSGD_OK) {
        status = psgd_reducer_state_import(r, state);
    }
    psgd_state_destroy(state);
    return status;
}
