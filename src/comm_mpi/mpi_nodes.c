/* Communicators of nodes over MPI: which processes are on one node, and the communicators of both levels. */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm_mpi/mpi_comm.h"

enum { MAX_CALL_BYTES = 1073741824, MAX_THREADS = 1024, POLL_SLEEP_NS = 50000, SENTENCE_BYTES = 1024 };

static const double DEFAULT_DEADLINE_SECONDS = 600.0;
static const double MAX_LOOK_SECONDS         = 0.1; /* that are waited from one look to the next */

/* What tells a process's node. Two processes are on one node if these are equal. */
typedef struct node_key {
    uint64_t is_named;
    uint64_t name_hash;
    uint64_t sharers; /* the first process of those that share this one's memory; 0 where is_named */
} node_key_t;

/* The creation of one communicator. */
typedef struct creation {
    const char  *function; /* for sentences */
    MPI_Comm     original;
    double       deadline_seconds;
    double       met_seconds; /* by this process's clock: nobody waited for keys yet */
    psgd_comm_t *flat; /* of all processes, while nodes are found out */
    node_key_t  *keys; /* by process */
    size_t      *counts;
    MPI_Comm     node, leaders; /* leaders: MPI_COMM_NULL but on the first of each node */
    psgd_comm_t *up, *down, *across;
} creation_t;

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* "psgd_comm_mpi_nodes_create: " in front of the last error. */
static psgd_status_t fail_within(const creation_t *creation, psgd_status_t status)
{
    char sentence[SENTENCE_BYTES];

    snprintf(sentence, sizeof(sentence), "%s", psgd_last_error());
    return psgd_comm_fail(status, "%s: %s", creation->function, sentence);
}

/* ---- names of nodes ---- */

static const char *environment_node(void)
{
    psgd_env_info_t info = {NULL, NULL, NULL};

    for (size_t i = 0; psgd_env_get(i, &info); ++i) {
        if (strcmp(info.name, "PSGD_NODE") == 0) {
            return info.value;
        }
    }
    return NULL;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (; *text != '\0'; ++text) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    return hash;
}

/* The key but for its sharers. */
static psgd_status_t name_node(const char *node, node_key_t *key)
{
    char          processor[MPI_MAX_PROCESSOR_NAME] = "";
    int           length                            = 0;
    psgd_status_t status                            = PSGD_OK;

    node          = node != NULL ? node : environment_node();
    key->is_named = node != NULL ? 1 : 0;
    key->sharers  = 0;
    if (node == NULL) {
        status = psgd_mpi_check(MPI_Get_processor_name(processor, &length), "MPI_Get_processor_name",
                                "a communicator of nodes");
    }
    key->name_hash = hash_text(node != NULL ? node : processor);
    return status;
}

/* key->sharers: by MPI. Blocks until all processes come. */
static psgd_status_t find_sharers(creation_t *creation, node_key_t *key)
{
    static const char what[]  = "a communicator of nodes";
    MPI_Comm          shared  = MPI_COMM_NULL;
    MPI_Group         sharers = MPI_GROUP_NULL, all = MPI_GROUP_NULL;
    int               first = 0, index = 0;
    psgd_status_t     status;

    status = psgd_mpi_check(MPI_Comm_split_type(creation->original, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared),
                            "MPI_Comm_split_type", what);
    creation->met_seconds = now_seconds();
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_mpi_check(MPI_Comm_group(shared, &sharers), "MPI_Comm_group", what);
    if (status == PSGD_OK) {
        status = psgd_mpi_check(MPI_Comm_group(creation->original, &all), "MPI_Comm_group", what);
    }
    if (status == PSGD_OK) {
        status = psgd_mpi_check(MPI_Group_translate_ranks(sharers, 1, &first, all, &index), "MPI_Group_translate_ranks",
                                what);
        MPI_Group_free(&all);
    }
    if (sharers != MPI_GROUP_NULL) {
        MPI_Group_free(&sharers);
    }
    MPI_Comm_free(&shared);
    key->sharers = (uint64_t)index;
    return status;
}

/* ---- who is on which node ---- */

/* What the others have sent is there for whoever comes late, too: it would see the gathering complete, and wait in MPI's split, which
 * has no deadline, for those who have given up. They have begun to wait for keys no earlier than met_seconds. */
static psgd_status_t check_is_in_time(const creation_t *creation)
{
    const double seconds = now_seconds() - creation->met_seconds;

    return seconds < creation->deadline_seconds
               ? PSGD_OK
               : psgd_comm_fail(PSGD_ERR_TIMEOUT,
                                "process %u comes after %.2f s to tell its node: the others may have given up, %.2f s "
                                "being the deadline",
                                creation->flat->worker_index, seconds, creation->deadline_seconds);
}

/* What of the time since `*looked_p`, which becomes now, counts as waited: a process that was stopped, or got no processor, did not
 * look. */
static double seconds_waited(double *looked_p)
{
    const double before = *looked_p;

    *looked_p = now_seconds();
    return *looked_p - before < MAX_LOOK_SECONDS ? *looked_p - before : MAX_LOOK_SECONDS;
}

/* Every process's key to all. Once it has told its own, others may have all that they wait for, and be in MPI's split, where nobody
 * tells them that it gives up: so it waits for the whole deadline, however late it comes to look. */
static psgd_status_t gather_keys(const creation_t *creation)
{
    const struct timespec rest    = {0, POLL_SLEEP_NS};
    const psgd_comm_t    *flat    = creation->flat;
    double                left    = creation->deadline_seconds;
    double                looked  = now_seconds();
    psgd_request_t       *request = NULL;
    int                   is_done = 0;
    psgd_status_t         status;

    for (uint32_t w = 0; w < flat->num_workers; ++w) {
        creation->counts[w] = sizeof(*creation->keys);
    }
    status = check_is_in_time(creation);
    if (status == PSGD_OK) {
        status = flat->begin_all_gather(flat->self, creation->keys, creation->counts, &request);
    }
    while (status == PSGD_OK) {
        status = flat->test(flat->self, request, &is_done);
        if ((status != PSGD_OK) || is_done) {
            return status;
        }
        left -= seconds_waited(&looked);
        if (left <= 0.0) {
            return psgd_comm_fail(
                PSGD_ERR_TIMEOUT,
                "after %.2f s not all %u processes have told their node (worker %u speaking); one has "
                "died, hangs, or takes longer than the deadline allows",
                creation->deadline_seconds, flat->num_workers, flat->worker_index);
        }
        nanosleep(&rest, NULL);
    }
    return status;
}

/* All name their node, or none does. */
static psgd_status_t check_names(const creation_t *creation)
{
    const uint32_t num_workers = creation->flat->num_workers;
    uint32_t       named = 0, first_named = num_workers, first_other = num_workers;

    for (uint32_t w = num_workers; w-- > 0;) {
        if (creation->keys[w].is_named) {
            named += 1;
            first_named = w;
        } else {
            first_other = w;
        }
    }
    if ((named == 0) || (named == num_workers)) {
        return PSGD_OK;
    }
    return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                          "process %u says what its node is called, process %u does not (node, or PSGD_NODE in its "
                          "environment); all must, or none",
                          first_named, first_other);
}

/* Fills creation->keys on all processes. */
static psgd_status_t find_nodes(creation_t *creation, const char *node)
{
    node_key_t   *own    = &creation->keys[creation->flat->worker_index];
    psgd_status_t status = name_node(node, own);

    if (status == PSGD_OK) {
        status = gather_keys(creation);
    }
    if (status == PSGD_OK) {
        status = check_names(creation);
    }
    if ((status != PSGD_OK) || own->is_named) {
        return status;
    }
    status = find_sharers(creation, own);
    return status == PSGD_OK ? gather_keys(creation) : status;
}

/* The first process of this one's node. */
static uint32_t first_of_node(const creation_t *creation)
{
    const node_key_t *own   = &creation->keys[creation->flat->worker_index];
    uint32_t          first = 0;

    while (memcmp(&creation->keys[first], own, sizeof(*own)) != 0) {
        first += 1;
    }
    return first;
}

/* ---- communicators of both levels ---- */

/* Blocks until all processes come. */
static psgd_status_t split(creation_t *creation)
{
    static const char what[] = "a communicator of nodes";
    const int         index  = (int)creation->flat->worker_index;
    const int         first  = (int)first_of_node(creation);
    psgd_status_t     status;

    status = psgd_mpi_check(MPI_Comm_split(creation->original, first, index, &creation->node), "MPI_Comm_split", what);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_mpi_check(
        MPI_Comm_split(creation->original, first == index ? 0 : MPI_UNDEFINED, index, &creation->leaders),
        "MPI_Comm_split", what);
}

static psgd_status_t connect(creation_t *creation)
{
    const double  deadline = creation->deadline_seconds;
    psgd_status_t status   = psgd_mpi_comm_open(creation->node, deadline, MAX_CALL_BYTES, &creation->up);

    if (status == PSGD_OK) {
        status = psgd_mpi_comm_open(creation->node, deadline, MAX_CALL_BYTES, &creation->down);
    }
    if ((status == PSGD_OK) && (creation->leaders != MPI_COMM_NULL)) {
        status = psgd_mpi_comm_open(creation->leaders, deadline, MAX_CALL_BYTES, &creation->across);
    }
    return status;
}

/* The original's handler becomes the caller's again, whatever the status is so far. */
static psgd_status_t put_back(const creation_t *creation, MPI_Errhandler handler, psgd_status_t status)
{
    const int result = MPI_Comm_set_errhandler(creation->original, handler);

    return status == PSGD_OK
               ? psgd_mpi_check(result, "MPI_Comm_set_errhandler (the caller's)", "a communicator of nodes")
               : status;
}

/* Errors of MPI's calls on the original come back for as long as this takes. */
static psgd_status_t split_with_errors_returned(creation_t *creation, const char *node)
{
    static const char what[] = "a communicator of nodes";
    MPI_Errhandler    handler;
    psgd_status_t     status;

    status = psgd_mpi_check(MPI_Comm_get_errhandler(creation->original, &handler), "MPI_Comm_get_errhandler", what);
    if (status != PSGD_OK) {
        return status;
    }
    status =
        psgd_mpi_check(MPI_Comm_set_errhandler(creation->original, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", what);
    if (status == PSGD_OK) {
        status = find_nodes(creation, node);
        status = status == PSGD_OK ? split(creation) : status;
        status = put_back(creation, handler, status);
    }
    MPI_Errhandler_free(&handler);
    return status;
}

static psgd_status_t allocate(creation_t *creation)
{
    const size_t num_workers = creation->flat->num_workers;

    creation->keys   = calloc(num_workers, sizeof(*creation->keys));
    creation->counts = calloc(num_workers, sizeof(*creation->counts));
    return (creation->keys != NULL) && (creation->counts != NULL)
               ? PSGD_OK
               : psgd_comm_fail(PSGD_ERR_HOST_MEMORY, "no host memory for the nodes of %zu processes", num_workers);
}

/* What creation needed by the way. Keys that may still be on their way stay. */
static void clean_up(creation_t *creation, psgd_status_t status)
{
    const bool is_stuck = (status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM);

    if (is_stuck && (creation->flat != NULL)) {
        creation->flat->abort(creation->flat->self);
    }
    psgd_comm_destroy(creation->flat);
    if (!is_stuck) {
        free(creation->keys);
        free(creation->counts);
        if (creation->node != MPI_COMM_NULL) {
            MPI_Comm_free(&creation->node);
        }
        if (creation->leaders != MPI_COMM_NULL) {
            MPI_Comm_free(&creation->leaders);
        }
    }
    if (status != PSGD_OK) {
        psgd_comm_destroy(creation->up);
        psgd_comm_destroy(creation->down);
        psgd_comm_destroy(creation->across);
    }
}

static psgd_status_t create(creation_t *creation, const char *node, psgd_comm_t **comm_p)
{
    psgd_status_t status;

    creation->met_seconds = now_seconds(); /* before they meet: the others begin to wait for keys later than that */
    status = psgd_mpi_comm_open(creation->original, creation->deadline_seconds, MAX_CALL_BYTES, &creation->flat);
    if (status == PSGD_OK) {
        creation->deadline_seconds =
            creation->deadline_seconds == 0.0 ? DEFAULT_DEADLINE_SECONDS : creation->deadline_seconds;
        status = allocate(creation);
    }
    if (status == PSGD_OK) {
        status = split_with_errors_returned(creation, node);
    }
    if (status == PSGD_OK) {
        status = connect(creation);
    }
    if (status == PSGD_OK) {
        status =
            psgd_comm_nodes_create(creation->up, creation->down, creation->across, creation->deadline_seconds, comm_p);
    }
    return status;
}

psgd_status_t psgd_comm_mpi_nodes_create(MPI_Comm comm, const char *node, double deadline_seconds, psgd_comm_t **comm_p)
{
    creation_t    creation = {.function         = "psgd_comm_mpi_nodes_create",
                              .original         = comm,
                              .deadline_seconds = deadline_seconds,
                              .node             = MPI_COMM_NULL,
                              .leaders          = MPI_COMM_NULL};
    psgd_status_t status;

    if (comm_p == NULL) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "%s: comm_p is NULL; pass the address of a psgd_comm_t pointer", creation.function);
    }
    status = create(&creation, node, comm_p);
    if (status != PSGD_OK) {
        status = fail_within(&creation, status);
    }
    clean_up(&creation, status);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): meant; what may still be on its way stays */
    return status;
}

psgd_status_t psgd_comm_mpi_nodes_create_f(MPI_Fint comm, const char *node, double deadline_seconds,
                                           psgd_comm_t **comm_p)
{
    psgd_status_t status = psgd_mpi_check_state(); /* before the handle can be translated */

    return status == PSGD_OK ? psgd_comm_mpi_nodes_create(MPI_Comm_f2c(comm), node, deadline_seconds, comm_p) : status;
}

/* ---- threads within a process ---- */

static psgd_status_t check_threads(const char *function, uint32_t num_threads, psgd_comm_t *const *comms_p)
{
    int           provided = MPI_THREAD_SINGLE;
    psgd_status_t status;

    if (comms_p == NULL) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "%s: comms_p is NULL; pass an array of num_threads psgd_comm_t pointers", function);
    }
    if ((num_threads < 1) || (num_threads > MAX_THREADS)) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: num_threads is %u; it must be 1 to %d", function,
                              num_threads, MAX_THREADS);
    }
    status = psgd_mpi_check_state();
    if (status == PSGD_OK) {
        status = psgd_mpi_check(MPI_Query_thread(&provided), "MPI_Query_thread", function);
    }
    if ((status == PSGD_OK) && (num_threads > 1) && (provided < MPI_THREAD_FUNNELED)) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "%s: MPI was initialized for a single thread, and this process is to have %u; ask "
                              "MPI_Init_thread for MPI_THREAD_FUNNELED where comms_p[0] is the main thread's, else for "
                              "MPI_THREAD_SERIALIZED",
                              function, num_threads);
    }
    return status;
}

psgd_status_t psgd_comm_mpi_threads_create(MPI_Comm comm, uint32_t num_threads, double deadline_seconds,
                                           psgd_comm_t **comms_p)
{
    creation_t    creation = {.function = "psgd_comm_mpi_threads_create"};
    psgd_comm_t  *leaders  = NULL;
    psgd_status_t status   = check_threads(creation.function, num_threads, comms_p);

    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_mpi_comm_open(comm, deadline_seconds, MAX_CALL_BYTES, &leaders);
    if (status == PSGD_OK) {
        status = psgd_comm_nodes_threads_create(num_threads, leaders, deadline_seconds, comms_p);
    }
    if (status != PSGD_OK) {
        status = fail_within(&creation, status);
        psgd_comm_destroy(leaders);
    }
    return status;
}

psgd_status_t psgd_comm_mpi_threads_create_f(MPI_Fint comm, uint32_t num_threads, double deadline_seconds,
                                             psgd_comm_t **comms_p)
{
    psgd_status_t status = psgd_mpi_check_state();

    return status == PSGD_OK ? psgd_comm_mpi_threads_create(MPI_Comm_f2c(comm), num_threads, deadline_seconds, comms_p)
                             : status;
}
