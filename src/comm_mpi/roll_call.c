#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "comm_mpi/roll_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm_mpi/mpi_comm.h"

enum { QUESTION_TAG = 1, ANSWER_TAG = 2, POLL_SLEEP_NS = 50000 };

static const double ROLL_CALL_SECONDS = 1.0; /* that a roll call takes at most */
static const double LOOK_SECONDS      = 0.1; /* between two looks for one */

/* What this worker and another one tell each other. */
struct psgd_roll {
    MPI_Request question, answer; /* sent; MPI_REQUEST_NULL: none is under way */
    uint64_t    asked, answered;  /* their contents: not read, and the collectives begun here */
    uint64_t    heard;            /* the collectives begun there */
    bool        is_heard;
};

typedef struct psgd_roll roll_t;

psgd_status_t psgd_roll_call_open(psgd_roll_call_t *call, uint32_t num_workers, uint32_t worker_index)
{
    call->num_workers  = num_workers;
    call->worker_index = worker_index;
    call->rolls        = calloc(num_workers, sizeof(*call->rolls));
    if (call->rolls == NULL) {
        return psgd_comm_fail(PSGD_ERR_HOST_MEMORY, "no host memory for a communicator of %u workers", num_workers);
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        call->rolls[w].question = MPI_REQUEST_NULL;
        call->rolls[w].answer   = MPI_REQUEST_NULL;
    }
    return PSGD_OK;
}

static bool is_sent(MPI_Request *request)
{
    int is_complete = 0;

    return (*request == MPI_REQUEST_NULL) ||
           ((MPI_Test(request, &is_complete, MPI_STATUS_IGNORE) == MPI_SUCCESS) && is_complete);
}

/* What is still on its way may be read by MPI: then the memory stays. */
void psgd_roll_call_close(psgd_roll_call_t *call, bool is_finalized)
{
    bool is_idle = true;

    for (uint32_t w = 0; !is_finalized && (call->rolls != NULL) && (w < call->num_workers); ++w) {
        is_idle = is_sent(&call->rolls[w].question) && is_sent(&call->rolls[w].answer) && is_idle;
    }
    if (is_idle) {
        free(call->rolls);
    }
}

/* To worker w, unless what it was told before is still on its way. Whether it fails makes no difference: then it is not heard. */
static void tell(const psgd_roll_call_t *call, uint32_t w, int tag)
{
    roll_t      *roll      = &call->rolls[w];
    bool         is_asking = tag == QUESTION_TAG;
    MPI_Request *request   = is_asking ? &roll->question : &roll->answer;
    uint64_t    *word      = is_asking ? &roll->asked : &roll->answered;
    int          is_free   = 0;

    if ((MPI_Test(request, &is_free, MPI_STATUS_IGNORE) != MPI_SUCCESS) || !is_free) {
        return;
    }
    *word = call->num_begun;
    MPI_Isend(word, 1, MPI_UINT64_T, (int)w, tag, call->comm, request);
}

/* Takes a message of a roll call that has come, if one has. Returns whose it is, or num_workers. */
static uint32_t hear(const psgd_roll_call_t *call, int tag, uint64_t *word_p)
{
    int        has_come = 0;
    MPI_Status message;

    if ((MPI_Iprobe(MPI_ANY_SOURCE, tag, call->comm, &has_come, &message) != MPI_SUCCESS) || !has_come ||
        (MPI_Recv(word_p, 1, MPI_UINT64_T, message.MPI_SOURCE, tag, call->comm, MPI_STATUS_IGNORE) != MPI_SUCCESS)) {
        return call->num_workers;
    }
    return (uint32_t)message.MPI_SOURCE;
}

static void answer_roll_calls(const psgd_roll_call_t *call)
{
    uint64_t unused;

    for (uint32_t w = hear(call, QUESTION_TAG, &unused); w < call->num_workers; w = hear(call, QUESTION_TAG, &unused)) {
        tell(call, w, ANSWER_TAG);
    }
}

void psgd_roll_call_look(psgd_roll_call_t *call)
{
    const double now = MPI_Wtime();

    if (now >= call->next_look) {
        call->next_look = now + LOOK_SECONDS;
        answer_roll_calls(call);
    }
}

/* Asks all, and listens until all have answered or the time is over. */
static void call_roll(psgd_roll_call_t *call)
{
    const struct timespec rest      = {0, POLL_SLEEP_NS};
    const double          end       = MPI_Wtime() + ROLL_CALL_SECONDS;
    uint32_t              num_heard = 1;
    uint64_t              word      = 0;

    for (uint32_t w = 0; w < call->num_workers; ++w) {
        call->rolls[w].is_heard = w == call->worker_index;
        call->rolls[w].heard    = call->num_begun;
        if (w != call->worker_index) {
            tell(call, w, QUESTION_TAG);
        }
    }
    while ((num_heard < call->num_workers) && (MPI_Wtime() < end)) {
        uint32_t w = hear(call, ANSWER_TAG, &word);

        answer_roll_calls(call); /* others' time is up, too */
        if (w == call->num_workers) {
            nanosleep(&rest, NULL);
        } else if (!call->rolls[w].is_heard) {
            call->rolls[w].is_heard = true;
            call->rolls[w].heard    = word;
            num_heard += 1;
        }
    }
}

/* Whom a sentence speaks of. */
typedef bool (*is_meant_fn)(const roll_t *roll, uint64_t number);

static bool is_silent(const roll_t *roll, uint64_t number)
{
    (void)number;
    return !roll->is_heard;
}

static bool is_behind(const roll_t *roll, uint64_t number)
{
    return roll->is_heard && (roll->heard <= number);
}

/* "<what> worker 2" or "<what> workers 1, 2", as far as there is room, behind what is there. Returns whether there are any. */
static bool add_workers(const psgd_roll_call_t *call, uint64_t number, is_meant_fn is_meant, const char *what,
                        char *text, size_t text_bytes)
{
    char     list[96] = "";
    size_t   used = 0, length = strlen(text);
    uint32_t count = 0;

    for (uint32_t w = 0; w < call->num_workers; ++w) {
        if (is_meant(&call->rolls[w], number)) {
            used += used < 80 ? (size_t)snprintf(list + used, sizeof(list) - used, "%s%u", used > 0 ? ", " : "", w) : 0;
            ++count;
        }
    }
    if (count > 0) {
        snprintf(text + length, text_bytes - length, "%s%s worker%s %s", length > 0 ? "; " : "", what,
                 count > 1 ? "s" : "", list);
    }
    return count > 0;
}

void psgd_roll_call_name_late(psgd_roll_call_t *call, uint64_t number, char *text, size_t text_bytes)
{
    bool are_silent, are_behind;

    call_roll(call);
    are_silent =
        add_workers(call, number, is_silent, "no answer (dead, stopped, or busy elsewhere) from", text, text_bytes);
    are_behind = add_workers(call, number, is_behind, "not begun by", text, text_bytes);
    if (!are_silent && !are_behind) {
        snprintf(text, text_bytes, "all workers have begun it, so what connects them is slow, or has lost something");
    }
}
