#define _XOPEN_SOURCE 700 /* nanosleep() */
#include "faults/mpi_shim.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mpi.h>

enum { MAX_FRESH = 256 };

static struct {
    bool        is_armed;
    mpi_fault_t fault;
    uint64_t    number;
    double      delay_seconds;
    uint64_t    calls;
    bool        has_fired;    /* there was such a call */
    bool        has_happened; /* and something befell it: a call that brings no data brings no wrong bit */
    bool        counts_requests;
    bool        was_poll; /* the last call was MPI_Test() */
    const char *name;
    bool        creates_nodes; /* and has splits still to come */
    uint32_t
        splits_left; /* that come behind the gathering that has begun, which others may be in already; 0: none has */
} shim;

/* Requests that no MPI_Test has seen yet. */
static struct {
    size_t      count;
    MPI_Request requests[MAX_FRESH];
} fresh;

/* What a call that is to bring a wrong bit has begun. */
static struct {
    bool           is_under_way;
    MPI_Request    request;
    unsigned char *data;
    size_t         bytes;
} flip;

void mpi_shim_arm(mpi_fault_t fault, uint64_t number, double delay_seconds, bool counts_requests)
{
    memset(&shim, 0, sizeof(shim));
    memset(&flip, 0, sizeof(flip));
    memset(&fresh, 0, sizeof(fresh));
    shim.is_armed        = true;
    shim.fault           = fault;
    shim.number          = number;
    shim.delay_seconds   = delay_seconds;
    shim.counts_requests = counts_requests;
    shim.name            = "";
}

void mpi_shim_disarm(void)
{
    shim.is_armed = false;
}

uint64_t mpi_shim_calls(void)
{
    return shim.calls;
}

bool mpi_shim_has_fired(void)
{
    return shim.has_fired;
}

bool mpi_shim_has_happened(void)
{
    return shim.has_happened;
}

const char *mpi_shim_name(void)
{
    return shim.name;
}

void mpi_shim_set_creating_nodes(bool is_so)
{
    shim.creates_nodes = is_so;
    shim.splits_left   = 0;
}

/* What all tell is gathered, and then MPI splits: where that finds out who shares memory, once, else twice, for the communicators. */
static void note_gathering(void)
{
    shim.splits_left = shim.creates_nodes ? 2 : 0;
}

static void note_sharers(void)
{
    shim.splits_left = 0;
}

/* Behind the second one, what is gathered goes by a deadline again. */
static void note_split(void)
{
    shim.splits_left -= shim.splits_left > 0 ? 1 : 0;
    shim.creates_nodes = shim.creates_nodes && (shim.splits_left > 0);
}

/* Whether what is to befall the call would leave others in a split. */
static bool is_left_out(const char *name)
{
    const bool gathers = shim.creates_nodes && (strcmp(name, "MPI_Iallgatherv") == 0);

    switch (shim.fault) {
    case MPI_FAULT_NONE:
    case MPI_FAULT_DELAY: return false;
    case MPI_FAULT_LATE: return gathers;
    case MPI_FAULT_FLIP:
    case MPI_FAULT_SHORT: return gathers || (shim.splits_left > 0);
    default: return shim.splits_left > 0;
    }
}

static void sleep_seconds(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&time, &time) != 0) {
    }
}

static void note_begin(int result, const MPI_Request *request)
{
    if (shim.is_armed && (result == MPI_SUCCESS) && (fresh.count < MAX_FRESH)) {
        fresh.requests[fresh.count++] = *request;
    }
}

static bool is_first_poll(MPI_Request request)
{
    for (size_t i = 0; i < fresh.count; ++i) {
        if (fresh.requests[i] == request) {
            fresh.requests[i] = fresh.requests[--fresh.count];
            return true;
        }
    }
    return false;
}

static bool counts_poll(MPI_Request request)
{
    return shim.counts_requests ? is_first_poll(request) : !shim.was_poll;
}

/* Counts the call; true where it is the one, and what befalls the whole process has happened. */
static bool meets_fault(const char *name)
{
    shim.was_poll = strcmp(name, "MPI_Test") == 0;
    if (!shim.is_armed || (++shim.calls != shim.number)) {
        return false;
    }
    shim.has_fired = true;
    shim.name      = name;
    if (is_left_out(name)) {
        printf("left out\n");
        fflush(stdout);
        return false;
    }
    shim.has_happened = (shim.fault == MPI_FAULT_DELAY) || (shim.fault == MPI_FAULT_LATE);
    switch (shim.fault) {
    case MPI_FAULT_DELAY:
    case MPI_FAULT_LATE: sleep_seconds(shim.delay_seconds); break;
    case MPI_FAULT_KILL: raise(SIGKILL); break;
    case MPI_FAULT_STOP: raise(SIGSTOP); break;
    case MPI_FAULT_EXIT: _exit(1);
    default: break;
    }
    return true;
}

static bool fails(bool is_met)
{
    const bool is_so = is_met && (shim.fault == MPI_FAULT_ERROR);

    shim.has_happened = shim.has_happened || is_so;
    return is_so;
}

/* What the call counts: one less where it is to be short. */
static int count_of(bool is_met, int count)
{
    const bool is_short = is_met && (shim.fault == MPI_FAULT_SHORT) && (count > 1);

    shim.has_happened = shim.has_happened || is_short;
    return is_short ? count - 1 : count;
}

/* The same for this process's place among counts; `copy` has room for all of them. */
static const int *counts_of(bool is_met, const int *counts, MPI_Comm comm, int copy[64])
{
    int size, rank;

    if (!is_met || (shim.fault != MPI_FAULT_SHORT) || (PMPI_Comm_size(comm, &size) != MPI_SUCCESS) || (size > 64) ||
        (PMPI_Comm_rank(comm, &rank) != MPI_SUCCESS)) {
        return counts;
    }
    memcpy(copy, counts, (size_t)size * sizeof(*counts));
    shim.has_happened = copy[rank] > 1;
    copy[rank] -= copy[rank] > 1 ? 1 : 0;
    return copy;
}

/* The call's data will have a wrong bit once it is complete. */
static void note_flip(bool is_met, const MPI_Request *request, void *data, size_t bytes)
{
    if (is_met && (shim.fault == MPI_FAULT_FLIP)) {
        flip.is_under_way = bytes > 0;
        flip.request      = *request;
        flip.data         = data;
        flip.bytes        = bytes;
    }
}

/* Another place for each call. */
static void flip_bit(void)
{
    const uint64_t place = shim.number * UINT64_C(2654435761) % (flip.bytes * 8);

    flip.data[place / 8] ^= (unsigned char)(1U << (place % 8));
    flip.is_under_way = false;
    shim.has_happened = true;
}

static size_t bytes_of(int count, MPI_Datatype type)
{
    int bytes = 0;

    PMPI_Type_size(type, &bytes);
    return (size_t)count * (size_t)bytes;
}

/* ---- how often a worker that waits looks ---- */

static const long LOOK_NS = 1000000;

/* Less often than the library means to (LINKER:--wrap): jobs that wait for a deadline are many, and run side by side. */
int __real_nanosleep(const struct timespec *time, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    const struct timespec longer = {0, LOOK_NS};

    return __real_nanosleep((time->tv_sec == 0) && (time->tv_nsec < LOOK_NS) ? &longer : time, rest);
}

/* ---- what MPI would do ---- */

int MPI_Comm_idup(MPI_Comm comm, MPI_Comm *copy, MPI_Request *request)
{
    const int result = fails(meets_fault("MPI_Comm_idup")) ? MPI_ERR_OTHER : PMPI_Comm_idup(comm, copy, request);

    note_begin(result, request);
    return result;
}

int MPI_Comm_get_errhandler(MPI_Comm comm, MPI_Errhandler *handler)
{
    return fails(meets_fault("MPI_Comm_get_errhandler")) ? MPI_ERR_OTHER : PMPI_Comm_get_errhandler(comm, handler);
}

int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    return fails(meets_fault("MPI_Comm_set_errhandler")) ? MPI_ERR_OTHER : PMPI_Comm_set_errhandler(comm, handler);
}

int MPI_Comm_size(MPI_Comm comm, int *size)
{
    return fails(meets_fault("MPI_Comm_size")) ? MPI_ERR_OTHER : PMPI_Comm_size(comm, size);
}

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
    return fails(meets_fault("MPI_Comm_rank")) ? MPI_ERR_OTHER : PMPI_Comm_rank(comm, rank);
}

int MPI_Get_processor_name(char *name, int *length)
{
    return fails(meets_fault("MPI_Get_processor_name")) ? MPI_ERR_OTHER : PMPI_Get_processor_name(name, length);
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part)
{
    const bool is_met = meets_fault("MPI_Comm_split_type");

    note_sharers();
    return fails(is_met) ? MPI_ERR_OTHER : PMPI_Comm_split_type(comm, type, key, info, part);
}

int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm *part)
{
    const bool is_met = meets_fault("MPI_Comm_split");

    note_split();
    return fails(is_met) ? MPI_ERR_OTHER : PMPI_Comm_split(comm, color, key, part);
}

int MPI_Comm_group(MPI_Comm comm, MPI_Group *group)
{
    return fails(meets_fault("MPI_Comm_group")) ? MPI_ERR_OTHER : PMPI_Comm_group(comm, group);
}

int MPI_Group_translate_ranks(MPI_Group from, int count, const int *ranks, MPI_Group to, int *translated)
{
    return fails(meets_fault("MPI_Group_translate_ranks"))
               ? MPI_ERR_OTHER
               : PMPI_Group_translate_ranks(from, count, ranks, to, translated);
}

int MPI_Iallreduce(const void *from, void *to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Iallreduce");
    const int  result =
        fails(is_met) ? MPI_ERR_OTHER : PMPI_Iallreduce(from, to, count_of(is_met, count), type, op, comm, request);

    note_begin(result, request);
    note_flip(is_met, request, to, bytes_of(count, type));
    return result;
}

int MPI_Ireduce_scatter(const void *from, void *to, const int *counts, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                        MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Ireduce_scatter");
    int        copy[64], rank = 0;
    const int *told   = counts_of(is_met, counts, comm, copy);
    const int  result = fails(is_met) ? MPI_ERR_OTHER : PMPI_Ireduce_scatter(from, to, told, type, op, comm, request);

    note_begin(result, request);
    PMPI_Comm_rank(comm, &rank);
    note_flip(is_met, request, to, bytes_of(counts[rank], type));
    return result;
}

int MPI_Iallgatherv(const void *from, int count, MPI_Datatype from_type, void *to, const int *counts, const int *displs,
                    MPI_Datatype type, MPI_Comm comm, MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Iallgatherv");
    int        copy[64], size = 1;
    const int *told = counts_of(is_met, counts, comm, copy);
    const int  result =
        fails(is_met) ? MPI_ERR_OTHER : PMPI_Iallgatherv(from, count, from_type, to, told, displs, type, comm, request);

    note_gathering();
    note_begin(result, request);
    PMPI_Comm_size(comm, &size);
    note_flip(is_met, request, to, bytes_of(displs[size - 1] + counts[size - 1], type));
    return result;
}

int MPI_Ibcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm, MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Ibcast");
    const int  result =
        fails(is_met) ? MPI_ERR_OTHER : PMPI_Ibcast(data, count_of(is_met, count), type, root, comm, request);
    int rank = 0;

    note_begin(result, request);
    PMPI_Comm_rank(comm, &rank);
    note_flip(is_met && (rank != root), request, data, bytes_of(count, type));
    return result;
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Isend");
    const int  result =
        fails(is_met) ? MPI_ERR_OTHER : PMPI_Isend(data, count_of(is_met, count), type, to, tag, comm, request);

    note_begin(result, request);
    return result;
}

int MPI_Irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request)
{
    const bool is_met = meets_fault("MPI_Irecv");
    const int  result =
        fails(is_met) ? MPI_ERR_OTHER : PMPI_Irecv(data, count_of(is_met, count), type, from, tag, comm, request);

    note_begin(result, request);
    note_flip(is_met, request, data, bytes_of(count, type));
    return result;
}

int MPI_Test(MPI_Request *request, int *is_complete, MPI_Status *status)
{
    const MPI_Request before = *request;
    int               result;

    if (counts_poll(before) && fails(meets_fault("MPI_Test"))) {
        return MPI_ERR_OTHER;
    }
    result = PMPI_Test(request, is_complete, status);
    if ((result == MPI_SUCCESS) && *is_complete && flip.is_under_way && (flip.request == before)) {
        flip_bit();
    }
    return result;
}
