/* What a step sends of a model at a rank: by the rules of the library's plan, as host arithmetic, so that a model larger than this
 * machine can be asked about. tests/cli/test_advise_traffic.c compares it with what a reducer says. */
#ifndef PSGD_ADVISE_TRAFFIC_H
#define PSGD_ADVISE_TRAFFIC_H

#include "model.h"

/* Elements of a bucket: gradients that are compressed and sent together. */
typedef struct traffic {
    uint64_t elems;          /* of all its tensors */
    uint64_t matrix_elems;   /* N: of its compressed matrices */
    uint64_t p_elems;        /* of all P, rows x r each */
    uint64_t q_elems;        /* of all Q, cols x r each */
    uint64_t small_elems;    /* uncompressed, in the message of P */
    uint64_t large_elems;    /* uncompressed, in a message of their own: tensors above 256 KiB */
    uint64_t num_compressed; /* tensors */
} traffic_t;

typedef struct bucket_list {
    traffic_t *buckets; /* in the order in which a backward pass brings them: the last tensor comes first */
    size_t     count;
    traffic_t  total;
} bucket_list_t;

/* How a model's tensors travel at `rank` (tensors with a rank of their own keep it), in buckets of at least bucket_bytes of
 * gradients (0: one). A matrix is compressed if (rows + cols) r min_compression_rate < rows cols. Freed by buckets_free(), also after
 * an error. Errors: TOOL_FAILED (no memory). */
tool_status_t buckets_make(const model_t *model, uint32_t rank, double min_compression_rate, uint64_t bucket_bytes,
                           bucket_list_t *list_p);
void          buckets_free(bucket_list_t *list); /* fine where it is all zero */

/* Elements that a compressed step sends. */
uint64_t traffic_sent_elems(const traffic_t *traffic);

/* Elements over elements sent. */
double traffic_compression_rate(const traffic_t *traffic);

/* Device memory of a reducer, bytes, about: the error memory of N floats, and what it keeps of factors and messages. */
double traffic_reducer_bytes(const traffic_t *traffic);

#endif
