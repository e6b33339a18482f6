#include "traffic.h"

#include <stdlib.h>
#include <string.h>

/* Uncompressed tensors up to here travel in the message of P (include/psgd/psgd.h). */
#define SMALL_TENSOR_BYTES (UINT64_C(256) * 1024)

typedef struct shape {
    uint64_t batch, rows, cols;
} shape_t;

/* The matrices in a tensor: its view, else the first dim by the others. */
static shape_t shape_of(const model_tensor_t *tensor)
{
    if (tensor->view.batch > 0) {
        return (shape_t){tensor->view.batch, tensor->view.rows, tensor->view.cols};
    }
    return (shape_t){1, tensor->dims[0], tensor->elems / tensor->dims[0]};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The rank of its matrices; 0: it is not compressed. */
static uint64_t rank_of(const model_tensor_t *tensor, uint32_t rank, double min_compression_rate)
{
    const shape_t  shape  = shape_of(tensor);
    const uint64_t wanted = tensor->rank > 0 ? (uint64_t)tensor->rank : rank;
    const uint64_t r      = least(wanted, least(shape.rows, shape.cols));

    if (tensor->rank < 0 || (tensor->num_dims < 2 && tensor->view.batch == 0)) {
        return 0;
    }
    return (double)(shape.rows + shape.cols) * (double)r * min_compression_rate <
                   (double)shape.rows * (double)shape.cols
               ? r
               : 0;
}

static void add_tensor(traffic_t *traffic, const model_tensor_t *tensor, uint64_t r)
{
    const shape_t shape = shape_of(tensor);

    traffic->elems += tensor->elems;
    if (r > 0) {
        traffic->matrix_elems += tensor->elems;
        traffic->p_elems += shape.batch * shape.rows * r;
        traffic->q_elems += shape.batch * shape.cols * r;
        traffic->num_compressed += 1;
    } else if (tensor->elems * sizeof(float) <= SMALL_TENSOR_BYTES) {
        traffic->small_elems += tensor->elems;
    } else {
        traffic->large_elems += tensor->elems;
    }
}

tool_status_t buckets_make(const model_t *model, uint32_t rank, double min_compression_rate, uint64_t bucket_bytes,
                           bucket_list_t *list_p)
{
    tool_status_t status;

    *list_p = (bucket_list_t){0};
    status  = tool_alloc(model->count, sizeof(*list_p->buckets), "the buckets", &list_p->buckets);
    for (size_t t = model->count; t-- > 0 && status == TOOL_OK;) {
        const model_tensor_t *tensor = &model->tensors[t];
        const uint64_t        r      = rank_of(tensor, rank, min_compression_rate);
        traffic_t            *last   = &list_p->buckets[list_p->count];

        add_tensor(last, tensor, r);
        add_tensor(&list_p->total, tensor, r);
        if (t == 0 || (bucket_bytes > 0 && last->elems * sizeof(float) >= bucket_bytes)) {
            list_p->count += 1;
        }
    }
    return status;
}

void buckets_free(bucket_list_t *list)
{
    free(list->buckets);
    memset(list, 0, sizeof(*list));
}

uint64_t traffic_sent_elems(const traffic_t *traffic)
{
    return traffic->p_elems + traffic->q_elems + traffic->small_elems + traffic->large_elems;
}

double traffic_compression_rate(const traffic_t *traffic)
{
    const uint64_t sent = traffic_sent_elems(traffic);

    return sent > 0 ? (double)traffic->elems / (double)sent : 1.0;
}

/* Beside the error memory: P^ and Q^, this worker's Q and the scaled mean Q, and what is received of P and of small tensors. */
double traffic_reducer_bytes(const traffic_t *traffic)
{
    return 4.0 * ((double)traffic->matrix_elems + 2.0 * (double)traffic->p_elems + 3.0 * (double)traffic->q_elems +
                  (double)traffic->small_elems);
}
