/* Workers that are processes of an MPI job.
 *
 * A request is a slot of a fixed pool and holds one MPI request or more ("parts"): MPI counts in int, and libraries
 * have had trouble close to its end, so nothing larger than max_call_bytes goes into one call. All parts are begun in
 * begin_*, never later, because collectives of one communicator must be begun in the same order everywhere. Whether and
 * how a collective is divided follows from arguments that are the same on all workers.
 *
 *    all_reduce, broadcast   pieces of max_call_bytes
 *    reduce_scatter          MPI_Ireduce_scatter; above max_call_bytes one MPI_Ireduce a piece, to the segment's worker
 *    all_gather              MPI_Iallgatherv; above max_call_bytes one MPI_Ibcast a piece, from the segment's worker
 *    all_to_all              MPI_Isend and MPI_Irecv. How much a worker sends in all is its own affair here, so workers
 *                            could not agree when MPI_Ialltoallv, with its displacements in int, still serves. The two
 *                            ends of a pair agree on what they exchange. One tag is enough: messages of a pair arrive
 *                            in the order in which they were sent, and both ends begin in the same order
 *
 * A worker that has died or hangs gives no MPI error: its peers' requests are just never complete, and the deadline of
 * whoever waits finds out, and who it is by a roll call (roll_call.h). MPI has no way to take such a request back. So a
 * communicator with unfinished requests is left to MPI when it is destroyed, with the memory that MPI may still use;
 * MPI_Finalize may then wait for ever, and MPI_Abort is the way out.
 *
 * After creation memory is allocated only by the first reduce_scatter of its size (for this worker's segment) and the
 * first collective above max_call_bytes (for its list of parts). */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "comm_mpi/mpi_comm.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm_mpi/roll_call.h"

enum {
    MAX_REQUESTS   = 32,         /* under way at once */
    MAX_CALL_BYTES = 1073741824, /* 2^30 */
    ALL_TO_ALL_TAG = 0,
    POLL_SLEEP_NS  = 50000
};

static const double DEFAULT_DEADLINE_SECONDS = 600.0;

typedef struct mpi_comm mpi_comm_t;

struct psgd_request {
    psgd_request_t *next_free;
    bool            is_under_way;
    const char     *what; /* "all_reduce", for errors */
    uint64_t        number; /* of the collective, on every worker */
    MPI_Request    *parts;
    int            *expected; /* of each part: bytes that it must receive, where MPI does not check that; else -1 */
    size_t          max_parts; /* room in `parts` */
    size_t          num_parts; /* begun */
    size_t          next_part; /* parts before it are complete */
    int            *counts;    /* W */
    int            *displs;    /* W */
    bool            is_vector; /* MPI may use counts, displs and scratch until the request is complete */
    float          *scratch;   /* MPI_Ireduce_scatter leaves this worker's sum here ... */
    size_t          scratch_elems;
    float          *segment; /* ... and this is where it belongs; NULL: nothing to copy */
    size_t          segment_elems;
};

struct mpi_comm {
    psgd_comm_t     table;
    MPI_Comm        comm;
    size_t          max_call_bytes;
    bool             is_for_main_thread; /* it alone may call MPI */
    bool            is_aborted;
    bool            is_copying; /* MPI may still write the copy's handle into `comm` */
    psgd_roll_call_t roll_call;
    uint32_t        num_under_way;
    psgd_request_t *free_requests;
    psgd_request_t  requests[MAX_REQUESTS];
};

/* MPI's own words for a result, in text[0 .. MPI_MAX_ERROR_STRING). */
static const char *words_of(int result, char *text)
{
    int length = 0;

    return (MPI_Error_string(result, text, &length) == MPI_SUCCESS) && (length > 0) ? text : "no description";
}

psgd_status_t psgd_mpi_check(int result, const char *call, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";

    return result == MPI_SUCCESS ? PSGD_OK
                                 : psgd_comm_fail(PSGD_ERR_COMM, "%s failed in %s: %s (MPI error %d)", call, what,
                                                  words_of(result, text), result);
}

/* PSGD_OK where `result` is MPI_SUCCESS; else a sentence with the call's name, MPI's words, and the worker. */
static psgd_status_t mpi_check(const mpi_comm_t *comm, int result, const char *call, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";

    if (result == MPI_SUCCESS) {
        return PSGD_OK;
    }
    return psgd_comm_fail(PSGD_ERR_COMM, "%s failed in %s on worker %u of %u: %s (MPI error %d)", call, what,
                          comm->table.worker_index, comm->table.num_workers, words_of(result, text), result);
}

/* Where MPI allows calls from the main thread alone, this is it. */
static psgd_status_t check_thread(const mpi_comm_t *comm, const char *what)
{
    int is_main = 1;

    if (!comm->is_for_main_thread || (MPI_Is_thread_main(&is_main) != MPI_SUCCESS) || is_main) {
        return PSGD_OK;
    }
    return psgd_comm_fail(PSGD_ERR_COMM,
                          "%s: begun by a thread other than the main one, which this MPI allows only with "
                          "MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE; ask MPI_Init_thread for it",
                          what);
}

/* ---------------------------------------------------------------------------------------------------- requests ---- */

static psgd_status_t request_reserve(psgd_request_t *request, size_t num_parts)
{
    const bool   is_countable = num_parts <= SIZE_MAX / sizeof(MPI_Request);
    MPI_Request *parts;
    int         *expected;

    if (num_parts <= request->max_parts) {
        return PSGD_OK;
    }
    parts          = is_countable ? realloc(request->parts, num_parts * sizeof(*parts)) : NULL;
    request->parts = parts != NULL ? parts : request->parts;
    expected       = is_countable ? realloc(request->expected, num_parts * sizeof(*expected)) : NULL;
    request->expected = expected != NULL ? expected : request->expected;
    if ((parts == NULL) || (expected == NULL)) {
        return psgd_comm_fail(PSGD_ERR_HOST_MEMORY, "no host memory for a collective of %zu MPI calls", num_parts);
    }
    request->max_parts = num_parts;
    return PSGD_OK;
}

static psgd_status_t scratch_reserve(psgd_request_t *request, size_t elems)
{
    float *scratch;

    if (elems <= request->scratch_elems) {
        return PSGD_OK;
    }
    scratch = realloc(request->scratch, elems * sizeof(*scratch));
    if (scratch == NULL) {
        return psgd_comm_fail(PSGD_ERR_HOST_MEMORY, "no host memory for the result of a reduce_scatter (%zu floats)",
                              elems);
    }
    request->scratch       = scratch;
    request->scratch_elems = elems;
    return PSGD_OK;
}

/* Takes a request with room for num_parts from the pool. It is given back by request_end(). */
static psgd_status_t request_start(mpi_comm_t *comm, const char *what, size_t num_parts, psgd_request_t **request_p)
{
    psgd_request_t *request = comm->free_requests;
    psgd_status_t   status  = check_thread(comm, what);

    if (status != PSGD_OK) {
        return status;
    }
    if (comm->is_aborted) {
        return psgd_comm_fail(PSGD_ERR_COMM, "%s: the communicator was aborted; destroy it", what);
    }
    if (request == NULL) {
        return psgd_comm_fail(PSGD_ERR_COMM,
                              "%s: %d requests are under way on worker %u, and there can be no more; "
                              "test them until they are complete",
                              what, MAX_REQUESTS, comm->table.worker_index);
    }
    status = request_reserve(request, num_parts);
    if (status != PSGD_OK) {
        return status;
    }
    comm->free_requests = request->next_free;
    ++comm->num_under_way;
    request->is_under_way = true;
    request->what         = what;
    request->number       = comm->roll_call.num_begun++;
    request->num_parts    = 0;
    request->next_part    = 0;
    request->segment      = NULL;
    request->is_vector    = false;
    *request_p            = request;
    return PSGD_OK;
}

static void request_end(mpi_comm_t *comm, psgd_request_t *request)
{
    request->is_under_way = false;
    request->next_free    = comm->free_requests;
    comm->free_requests   = request;
    --comm->num_under_way;
}

/* After begin_*: hands the request out, or, where a call failed, gives it back if nothing was begun. A request of which
 * a part is under way stays out of the pool. */
static psgd_status_t request_begun(mpi_comm_t *comm, psgd_request_t *request, psgd_status_t status,
                                   psgd_request_t **request_p)
{
    if (status == PSGD_OK) {
        *request_p = request;
    } else if (request->num_parts == 0) {
        request_end(comm, request);
    }
    return status;
}

/* Counts the part that the call has begun. */
static psgd_status_t part_begun(const mpi_comm_t *comm, psgd_request_t *request, int result, const char *call)
{
    psgd_status_t status = mpi_check(comm, result, call, request->what);

    if (status == PSGD_OK) {
        request->expected[request->num_parts++] = -1;
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------------- dividing ---- */

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Elements of one call: at most 2^30, an int. */
static size_t piece_elems(const mpi_comm_t *comm, size_t elem_bytes)
{
    return comm->max_call_bytes / elem_bytes;
}

static size_t num_pieces(const mpi_comm_t *comm, size_t count, size_t elem_bytes)
{
    size_t piece = piece_elems(comm, elem_bytes);

    return count / piece + (count % piece != 0);
}

/* Over all segments but number `without` (num_workers: all of them). */
static size_t num_pieces_of_segments(const mpi_comm_t *comm, const size_t *counts, size_t elem_bytes, uint32_t without)
{
    size_t num = 0;

    for (uint32_t w = 0; w < comm->table.num_workers; ++w) {
        num += w == without ? 0 : num_pieces(comm, counts[w], elem_bytes);
    }
    return num;
}

/* Elements of segments 0 .. num_segments. */
static size_t sum_of_counts(const size_t *counts, uint32_t num_segments)
{
    size_t sum = 0;

    for (uint32_t w = 0; w < num_segments; ++w) {
        sum += counts[w];
    }
    return sum;
}

/* request->counts and displs for MPI, where all of it fits into one call. */
static void fill_int_counts(const mpi_comm_t *comm, psgd_request_t *request, const size_t *counts)
{
    int displ = 0;

    for (uint32_t w = 0; w < comm->table.num_workers; ++w) {
        request->counts[w] = (int)counts[w];
        request->displs[w] = displ;
        displ += (int)counts[w];
    }
    request->is_vector = true;
}

/* ------------------------------------------------------------------------------------------------- collectives ---- */

static psgd_status_t mpi_begin_all_reduce(void *self, float *data, size_t count_elems, psgd_request_t **request_p)
{
    mpi_comm_t     *comm = self;
    psgd_request_t *request;
    psgd_status_t   status;
    size_t          piece;

    status = request_start(comm, "all_reduce", num_pieces(comm, count_elems, sizeof(*data)), &request);
    if (status != PSGD_OK) {
        return status;
    }
    for (; (status == PSGD_OK) && (count_elems > 0); data += piece, count_elems -= piece) {
        int result;

        piece  = size_min(count_elems, piece_elems(comm, sizeof(*data)));
        result = MPI_Iallreduce(MPI_IN_PLACE, data, (int)piece, MPI_FLOAT, MPI_SUM, comm->comm,
                                &request->parts[request->num_parts]);
        status = part_begun(comm, request, result, "MPI_Iallreduce");
    }
    return request_begun(comm, request, status, request_p);
}

/* data[0 .. count_bytes) of `root` to all, in pieces. */
static psgd_status_t broadcast_pieces(const mpi_comm_t *comm, psgd_request_t *request, char *data, size_t count_bytes,
                                      uint32_t root)
{
    psgd_status_t status = PSGD_OK;
    size_t        piece;

    for (; (status == PSGD_OK) && (count_bytes > 0); data += piece, count_bytes -= piece) {
        int result;

        piece  = size_min(count_bytes, piece_elems(comm, 1));
        result = MPI_Ibcast(data, (int)piece, MPI_BYTE, (int)root, comm->comm, &request->parts[request->num_parts]);
        status = part_begun(comm, request, result, "MPI_Ibcast");
    }
    return status;
}

static psgd_status_t mpi_begin_broadcast(void *self, void *data, size_t count_bytes, uint32_t root,
                                         psgd_request_t **request_p)
{
    mpi_comm_t     *comm = self;
    psgd_request_t *request;
    psgd_status_t   status;

    if (root >= comm->table.num_workers) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT, "broadcast from worker %u: there are only workers 0 to %u",
                              root, comm->table.num_workers - 1);
    }
    status = request_start(comm, "broadcast", num_pieces(comm, count_bytes, 1), &request);
    if (status != PSGD_OK) {
        return status;
    }
    status = broadcast_pieces(comm, request, data, count_bytes, root);
    return request_begun(comm, request, status, request_p);
}

/* data[0 .. count) becomes the sum on worker `root`, in pieces. */
static psgd_status_t reduce_pieces(const mpi_comm_t *comm, psgd_request_t *request, float *data, size_t count,
                                   uint32_t root)
{
    bool          is_root = comm->table.worker_index == root;
    psgd_status_t status  = PSGD_OK;
    size_t        piece;

    for (; (status == PSGD_OK) && (count > 0); data += piece, count -= piece) {
        int result;

        piece  = size_min(count, piece_elems(comm, sizeof(*data)));
        result = MPI_Ireduce(is_root ? MPI_IN_PLACE : data, is_root ? data : NULL, (int)piece, MPI_FLOAT, MPI_SUM,
                             (int)root, comm->comm, &request->parts[request->num_parts]);
        status = part_begun(comm, request, result, "MPI_Ireduce");
    }
    return status;
}

static psgd_status_t reduce_segments(const mpi_comm_t *comm, psgd_request_t *request, float *data,
                                     const size_t *counts_elems)
{
    psgd_status_t status = PSGD_OK;

    for (uint32_t w = 0; (status == PSGD_OK) && (w < comm->table.num_workers); ++w) {
        status = reduce_pieces(comm, request, data, counts_elems[w], w);
        data += counts_elems[w];
    }
    return status;
}

/* Not MPI_IN_PLACE: there MPICH 4.0.2 moves the result between overlapping places by memcpy, and gives wrong sums or
 * stops the program where a check of its own notices. */
static psgd_status_t reduce_scatter_at_once(const mpi_comm_t *comm, psgd_request_t *request, float *data,
                                            const size_t *counts_elems)
{
    uint32_t      index = comm->table.worker_index;
    psgd_status_t status;
    int           result;

    status = scratch_reserve(request, counts_elems[index]);
    if (status != PSGD_OK) {
        return status;
    }
    fill_int_counts(comm, request, counts_elems);
    request->segment       = data + request->displs[index];
    request->segment_elems = counts_elems[index];
    result = MPI_Ireduce_scatter(data, request->scratch, request->counts, MPI_FLOAT, MPI_SUM, comm->comm,
                                 &request->parts[0]);
    return part_begun(comm, request, result, "MPI_Ireduce_scatter");
}

static psgd_status_t mpi_begin_reduce_scatter(void *self, float *data, const size_t *counts_elems,
                                              psgd_request_t **request_p)
{
    mpi_comm_t     *comm       = self;
    size_t          total      = sum_of_counts(counts_elems, comm->table.num_workers);
    bool            is_at_once = total <= piece_elems(comm, sizeof(*data));
    size_t          num_parts  = 1;
    psgd_request_t *request;
    psgd_status_t   status;

    if (!is_at_once) {
        num_parts = num_pieces_of_segments(comm, counts_elems, sizeof(*data), comm->table.num_workers);
    }
    status = request_start(comm, "reduce_scatter", num_parts, &request);
    if (status != PSGD_OK) {
        return status;
    }
    status = is_at_once ? reduce_scatter_at_once(comm, request, data, counts_elems)
                        : reduce_segments(comm, request, data, counts_elems);
    return request_begun(comm, request, status, request_p);
}

static psgd_status_t gather_segments(const mpi_comm_t *comm, psgd_request_t *request, char *data,
                                     const size_t *counts_bytes)
{
    psgd_status_t status = PSGD_OK;

    for (uint32_t w = 0; (status == PSGD_OK) && (w < comm->table.num_workers); ++w) {
        status = broadcast_pieces(comm, request, data, counts_bytes[w], w);
        data += counts_bytes[w];
    }
    return status;
}

static psgd_status_t all_gather_at_once(const mpi_comm_t *comm, psgd_request_t *request, void *data,
                                        const size_t *counts_bytes)
{
    int result;

    fill_int_counts(comm, request, counts_bytes);
    result = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, request->counts, request->displs, MPI_BYTE,
                             comm->comm, &request->parts[0]);
    return part_begun(comm, request, result, "MPI_Iallgatherv");
}

static psgd_status_t mpi_begin_all_gather(void *self, void *data, const size_t *counts_bytes,
                                          psgd_request_t **request_p)
{
    mpi_comm_t     *comm       = self;
    size_t          total      = sum_of_counts(counts_bytes, comm->table.num_workers);
    bool            is_at_once = total <= piece_elems(comm, 1);
    size_t          num_parts  = 1;
    psgd_request_t *request;
    psgd_status_t   status;

    if (!is_at_once) {
        num_parts = num_pieces_of_segments(comm, counts_bytes, 1, comm->table.num_workers);
    }
    status = request_start(comm, "all_gather", num_parts, &request);
    if (status != PSGD_OK) {
        return status;
    }
    status = is_at_once ? all_gather_at_once(comm, request, data, counts_bytes)
                        : gather_segments(comm, request, data, counts_bytes);
    return request_begun(comm, request, status, request_p);
}

static psgd_status_t receive_pieces(const mpi_comm_t *comm, psgd_request_t *request, char *to, size_t bytes,
                                    uint32_t from)
{
    psgd_status_t status = PSGD_OK;
    size_t        piece;

    for (; (status == PSGD_OK) && (bytes > 0); to += piece, bytes -= piece) {
        int result;

        piece  = size_min(bytes, piece_elems(comm, 1));
        result = MPI_Irecv(to, (int)piece, MPI_BYTE, (int)from, ALL_TO_ALL_TAG, comm->comm,
                           &request->parts[request->num_parts]);
        status = part_begun(comm, request, result, "MPI_Irecv");
        if (status == PSGD_OK) { /* MPI takes a message that is too short for a good one */
            request->expected[request->num_parts - 1] = (int)piece;
        }
    }
    return status;
}

static psgd_status_t send_pieces(const mpi_comm_t *comm, psgd_request_t *request, const char *from, size_t bytes,
                                 uint32_t to)
{
    psgd_status_t status = PSGD_OK;
    size_t        piece;

    for (; (status == PSGD_OK) && (bytes > 0); from += piece, bytes -= piece) {
        int result;

        piece  = size_min(bytes, piece_elems(comm, 1));
        result = MPI_Isend(from, (int)piece, MPI_BYTE, (int)to, ALL_TO_ALL_TAG, comm->comm,
                           &request->parts[request->num_parts]);
        status = part_begun(comm, request, result, "MPI_Isend");
    }
    return status;
}

/* All receives first, so that what arrives finds its place; then the sends, beginning behind this worker, so that not
 * all workers send to worker 0 at first. */
static psgd_status_t exchange_segments(const mpi_comm_t *comm, psgd_request_t *request, const char *send,
                                       const size_t *send_counts_bytes, char *receive,
                                       const size_t *receive_counts_bytes)
{
    uint32_t      num_workers = comm->table.num_workers;
    uint32_t      index       = comm->table.worker_index;
    psgd_status_t status      = PSGD_OK;
    size_t        begin       = 0;

    for (uint32_t w = 0; (status == PSGD_OK) && (w < num_workers); ++w) {
        if (w != index) {
            status = receive_pieces(comm, request, receive + begin, receive_counts_bytes[w], w);
        }
        begin += receive_counts_bytes[w];
    }
    begin = sum_of_counts(send_counts_bytes, index) + send_counts_bytes[index];
    for (uint32_t i = 1; (status == PSGD_OK) && (i < num_workers); ++i) {
        uint32_t w = (index + i) % num_workers;

        begin  = w == 0 ? 0 : begin;
        status = send_pieces(comm, request, send + begin, send_counts_bytes[w], w);
        begin += send_counts_bytes[w];
    }
    return status;
}

static psgd_status_t mpi_begin_all_to_all(void *self, const void *send, const size_t *send_counts_bytes, void *receive,
                                          const size_t *receive_counts_bytes, psgd_request_t **request_p)
{
    mpi_comm_t     *comm      = self;
    uint32_t        index     = comm->table.worker_index;
    size_t          own_bytes = send_counts_bytes[index];
    psgd_request_t *request;
    psgd_status_t   status;
    size_t          num_parts;

    if (own_bytes != receive_counts_bytes[index]) {
        return psgd_comm_fail(PSGD_ERR_COMM,
                              "all_to_all does not match: worker %u sends %zu bytes to itself and expects %zu", index,
                              own_bytes, receive_counts_bytes[index]);
    }
    num_parts = num_pieces_of_segments(comm, send_counts_bytes, 1, index) +
                num_pieces_of_segments(comm, receive_counts_bytes, 1, index);
    status = request_start(comm, "all_to_all", num_parts, &request);
    if (status != PSGD_OK) {
        return status;
    }
    if (own_bytes > 0) {
        memcpy((char *)receive + sum_of_counts(receive_counts_bytes, index),
               (const char *)send + sum_of_counts(send_counts_bytes, index), own_bytes);
    }
    status = exchange_segments(comm, request, send, send_counts_bytes, receive, receive_counts_bytes);
    return request_begun(comm, request, status, request_p);
}

/* A part of a request that other workers' parts may not match. */
static psgd_status_t part_test(const mpi_comm_t *comm, const psgd_request_t *request, size_t part, int *is_complete_p)
{
    const int     expected = request->expected[part];
    int           received = expected;
    MPI_Status    message;
    psgd_status_t status;

    status = mpi_check(comm, MPI_Test(&request->parts[part], is_complete_p, &message), "MPI_Test", request->what);
    if ((status != PSGD_OK) || !*is_complete_p || (expected < 0)) {
        return status;
    }
    status = mpi_check(comm, MPI_Get_count(&message, MPI_BYTE, &received), "MPI_Get_count", request->what);
    if ((status == PSGD_OK) && (received != expected)) {
        status = psgd_comm_fail(PSGD_ERR_COMM, "%s on worker %u: %d bytes came from worker %d instead of %d", request->what,
                                comm->table.worker_index, received, message.MPI_SOURCE, expected);
    }
    return status;
}

/* A request with an error is never complete and stays out of the pool: MPI may still work on its other parts. */
static psgd_status_t mpi_test(void *self, psgd_request_t *request, int *done_p)
{
    mpi_comm_t *comm = self;

    psgd_roll_call_look(&comm->roll_call);
    for (; request->next_part < request->num_parts; ++request->next_part) {
        int           is_complete = 0;
        psgd_status_t status      = part_test(comm, request, request->next_part, &is_complete);

        if (status != PSGD_OK) {
            return status;
        }
        if (!is_complete) {
            *done_p = 0;
            return PSGD_OK;
        }
    }
    if ((request->segment != NULL) && (request->segment_elems > 0)) {
        memcpy(request->segment, request->scratch, request->segment_elems * sizeof(*request->segment));
    }
    request_end(comm, request);
    *done_p = 1;
    return PSGD_OK;
}

static void mpi_name_late(void *self, const psgd_request_t *request, char *text, size_t text_bytes)
{
    mpi_comm_t *comm = self;

    psgd_roll_call_name_late(&comm->roll_call, request->number, text, text_bytes);
}

static void mpi_abort(void *self)
{
    mpi_comm_t *comm = self;

    comm->is_aborted = true;
}

/* --------------------------------------------------------------------------------------- creation, destruction ---- */

static void requests_free(mpi_comm_t *comm)
{
    for (size_t i = 0; i < MAX_REQUESTS; ++i) {
        psgd_request_t *request = &comm->requests[i];

        free(request->parts); /* MPI keeps no pointers to the handles */
        free(request->expected);
        if (!request->is_under_way || !request->is_vector) {
            free(request->scratch);
            free(request->counts);
            free(request->displs);
        }
    }
}

static void mpi_destroy(void *self)
{
    mpi_comm_t *comm         = self;
    int         is_finalized = 0;

    /* MPI_Comm_free is a collective by the letter, and local in practice. Not after abort, when others may be gone, and
     * not with requests under way. */
    if ((MPI_Finalized(&is_finalized) == MPI_SUCCESS) && !is_finalized && !comm->is_aborted && (comm->num_under_way == 0)) {
        MPI_Comm_free(&comm->comm); /* if it fails, there is nobody to tell, and only the handle is lost */
    }
    requests_free(comm);
    psgd_roll_call_close(&comm->roll_call, is_finalized != 0);
    free(comm);
}

static psgd_status_t requests_allocate(mpi_comm_t *comm)
{
    size_t num_workers = comm->table.num_workers;

    for (size_t i = MAX_REQUESTS; i-- > 0;) {
        psgd_request_t *request = &comm->requests[i];

        request->max_parts = 2 * num_workers; /* what an all_to_all needs */
        request->parts     = calloc(request->max_parts, sizeof(*request->parts));
        request->expected  = calloc(request->max_parts, sizeof(*request->expected));
        request->counts    = calloc(num_workers, sizeof(*request->counts));
        request->displs    = calloc(num_workers, sizeof(*request->displs));
        if ((request->parts == NULL) || (request->expected == NULL) || (request->counts == NULL) || (request->displs == NULL)) {
            return psgd_comm_fail(PSGD_ERR_HOST_MEMORY,
                                  "no host memory for the requests of a communicator of %zu workers", num_workers);
        }
        request->next_free  = comm->free_requests;
        comm->free_requests = request;
    }
    return PSGD_OK;
}

/* MPI is there, and may be called from this thread. */
psgd_status_t psgd_mpi_check_state(void)
{
    int is_initialized = 0;
    int is_finalized   = 0;
    int is_main        = 0;
    int provided       = MPI_THREAD_SINGLE;

    if ((MPI_Initialized(&is_initialized) != MPI_SUCCESS) || !is_initialized) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "psgd_comm_mpi_create: MPI is not initialized; call MPI_Init before");
    }
    if ((MPI_Finalized(&is_finalized) != MPI_SUCCESS) || is_finalized) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_comm_mpi_create: MPI is finalized already");
    }
    if ((MPI_Query_thread(&provided) == MPI_SUCCESS) && (provided < MPI_THREAD_SERIALIZED) &&
        (MPI_Is_thread_main(&is_main) == MPI_SUCCESS) && !is_main) {
        return psgd_comm_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "psgd_comm_mpi_create: called from a thread other than the main one, which this MPI allows "
            "only with MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE; ask MPI_Init_thread for it");
    }
    return PSGD_OK;
}

static psgd_status_t check_arguments(MPI_Comm comm, double deadline_seconds, psgd_comm_t **comm_p)
{
    psgd_status_t status;
    int           is_inter = 0;

    if (comm_p == NULL) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "psgd_comm_mpi_create: comm_p is NULL; pass the address of a psgd_comm_t pointer");
    }
    if (!isfinite(deadline_seconds) || (deadline_seconds < 0.0)) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "psgd_comm_mpi_create: deadline_seconds is %g; it must be finite and not negative",
                              deadline_seconds);
    }
    status = psgd_mpi_check_state();
    if (status != PSGD_OK) {
        return status;
    }
    if (comm == MPI_COMM_NULL) {
        return psgd_comm_fail(PSGD_ERR_INVALID_ARGUMENT,
                              "psgd_comm_mpi_create: comm is MPI_COMM_NULL; this process takes no part in it");
    }
    if ((MPI_Comm_test_inter(comm, &is_inter) != MPI_SUCCESS) || is_inter) {
        return psgd_comm_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "psgd_comm_mpi_create: comm is an intercommunicator; merge it first (MPI_Intercomm_merge)");
    }
    return PSGD_OK;
}

/* Waits for the MPI_Comm_idup of all processes. */
static psgd_status_t wait_for_duplicate(const mpi_comm_t *comm, MPI_Request *request, double deadline_seconds)
{
    const struct timespec rest     = {0, POLL_SLEEP_NS};
    double                start    = MPI_Wtime();
    int                   is_there = 0;
    psgd_status_t         status;

    for (;;) {
        status =
            mpi_check(comm, MPI_Test(request, &is_there, MPI_STATUS_IGNORE), "MPI_Comm_idup", "psgd_comm_mpi_create");
        if ((status != PSGD_OK) || is_there) {
            return status;
        }
        if (MPI_Wtime() - start >= deadline_seconds) {
            return psgd_comm_fail(PSGD_ERR_TIMEOUT,
                                  "psgd_comm_mpi_create: after %.2f s not all %u processes of the communicator have "
                                  "called it (worker %u speaking); one has died, hangs, or takes longer than the "
                                  "deadline allows",
                                  deadline_seconds, comm->table.num_workers, comm->table.worker_index);
        }
        nanosleep(&rest, NULL);
    }
}

/* comm->comm = a copy of `original`, with errors returned. The copying itself is an operation of `original`, so its
 * error handler is exchanged for as long as that takes. */
static psgd_status_t duplicate(mpi_comm_t *comm, MPI_Comm original, double deadline_seconds)
{
    MPI_Errhandler handler;
    MPI_Request    request;
    psgd_status_t  status;
    int            restored;

    status =
        mpi_check(comm, MPI_Comm_get_errhandler(original, &handler), "MPI_Comm_get_errhandler", "psgd_comm_mpi_create");
    if (status != PSGD_OK) {
        return status;
    }
    status = mpi_check(comm, MPI_Comm_set_errhandler(original, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler",
                       "psgd_comm_mpi_create");
    if (status != PSGD_OK) {
        goto free_handler;
    }
    status = mpi_check(comm, MPI_Comm_idup(original, &comm->comm, &request), "MPI_Comm_idup", "psgd_comm_mpi_create");
    if (status == PSGD_OK) {
        comm->is_copying = true;
        status           = wait_for_duplicate(comm, &request, deadline_seconds);
        comm->is_copying = status != PSGD_OK;
    }
    restored = MPI_Comm_set_errhandler(original, handler);
    if (status == PSGD_OK) {
        status = mpi_check(comm, restored, "MPI_Comm_set_errhandler (the caller's)", "psgd_comm_mpi_create");
    }
    if (status == PSGD_OK) {
        comm->roll_call.comm = comm->comm;
        status = mpi_check(comm, MPI_Comm_set_errhandler(comm->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler",
                           "psgd_comm_mpi_create");
    }
free_handler:
    MPI_Errhandler_free(&handler);
    return status;
}

static void fill_table(mpi_comm_t *comm, int size, int index)
{
    int provided = MPI_THREAD_SINGLE;

    comm->table = (psgd_comm_t){
        .struct_size          = sizeof(psgd_comm_t),
        .name                 = "mpi",
        .self                 = comm,
        .num_workers          = (uint32_t)size,
        .worker_index         = (uint32_t)index,
        .begin_all_reduce     = mpi_begin_all_reduce,
        .begin_reduce_scatter = mpi_begin_reduce_scatter,
        .begin_all_gather     = mpi_begin_all_gather,
        .begin_all_to_all     = mpi_begin_all_to_all,
        .begin_broadcast      = mpi_begin_broadcast,
        .test                 = mpi_test,
        .abort                = mpi_abort,
        .destroy              = mpi_destroy,
        .name_late            = mpi_name_late,
        .any_thread           = (MPI_Query_thread(&provided) == MPI_SUCCESS) && (provided == MPI_THREAD_MULTIPLE),
    };
}

psgd_status_t psgd_mpi_comm_open(MPI_Comm original, double deadline_seconds, size_t max_call_bytes,
                                 psgd_comm_t **comm_p)
{
    mpi_comm_t   *comm;
    psgd_status_t status;
    int           size     = 0;
    int           index    = 0;
    int           provided = MPI_THREAD_SINGLE;

    status = check_arguments(original, deadline_seconds, comm_p);
    if (status != PSGD_OK) {
        return status;
    }
    if ((MPI_Comm_size(original, &size) != MPI_SUCCESS) || (MPI_Comm_rank(original, &index) != MPI_SUCCESS)) {
        return psgd_comm_fail(PSGD_ERR_COMM, "psgd_comm_mpi_create: MPI does not tell the size of the communicator");
    }
    comm = calloc(1, sizeof(*comm));
    if (comm == NULL) {
        return psgd_comm_fail(PSGD_ERR_HOST_MEMORY, "psgd_comm_mpi_create: no host memory for a communicator");
    }
    fill_table(comm, size, index);
    comm->is_for_main_thread = (MPI_Query_thread(&provided) == MPI_SUCCESS) && (provided < MPI_THREAD_SERIALIZED);
    comm->max_call_bytes     = max_call_bytes;
    status               = requests_allocate(comm);
    if (status != PSGD_OK) {
        goto free_comm;
    }
    status = psgd_roll_call_open(&comm->roll_call, (uint32_t)size, (uint32_t)index);
    if (status != PSGD_OK) {
        goto free_comm;
    }
    status = duplicate(comm, original, deadline_seconds == 0.0 ? DEFAULT_DEADLINE_SECONDS : deadline_seconds);
    if (status != PSGD_OK) {
        goto free_comm;
    }
    *comm_p = &comm->table;
    return PSGD_OK;

free_comm:
    requests_free(comm);
    psgd_roll_call_close(&comm->roll_call, false);
    if (!comm->is_copying) {
        free(comm);
    }
    return status;
}

psgd_status_t psgd_comm_mpi_create(MPI_Comm comm, double deadline_seconds, psgd_comm_t **comm_p)
{
    return psgd_mpi_comm_open(comm, deadline_seconds, MAX_CALL_BYTES, comm_p);
}

psgd_status_t psgd_comm_mpi_create_f(MPI_Fint comm, double deadline_seconds, psgd_comm_t **comm_p)
{
    psgd_status_t status = psgd_mpi_check_state(); /* before the handle can be translated */

    return status == PSGD_OK ? psgd_comm_mpi_create(MPI_Comm_f2c(comm), deadline_seconds, comm_p) : status;
}
