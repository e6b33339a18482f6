/* A step before start_step: the gradients are averaged as they are, in bounded pieces, so that no host buffer of N elements is
 * needed. The error memory stays as it is. Every piece carries a vote; the last one's is the last vote. */
#include "base/arith.h"
#include "core/exchange.h"
#include "core/norm.h"
#include "core/phases.h"
#include "core/step.h"
#include "core/traffic.h"
#include "core/update.h"

#include "base/hash.h"

static uint64_t tensor_elems(const psgd_plan_t *plan, size_t index)
{
    return plan->tensors[index].elems;
}

static psgd_status_t read_piece(psgd_reducer_t *r, uint64_t begin, uint64_t end)
{
    psgd_status_t status;

    if (!psgd_step_is_healthy(r)) {
        return PSGD_OK;
    }
    status = psgd_traffic_enqueue_span(r, r->step_grads, r->plan->num_given, tensor_elems, begin, end,
                                       psgd_message_payload(&r->message_chunk), false);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
}

static psgd_status_t write_piece(psgd_reducer_t *r, uint64_t begin, uint64_t end)
{
    psgd_status_t status;

    status = psgd_traffic_enqueue_span(r, r->step_grads, r->plan->num_given, tensor_elems, begin, end,
                                       psgd_message_payload(&r->message_chunk), true);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
}

/* The norm is known after the last piece: where it is too large, all pieces come and go once more. */
static psgd_status_t clip_pieces(psgd_reducer_t *r)
{
    uint64_t      piece_elems = r->message_chunk.capacity_elems;
    float        *piece       = psgd_message_payload(&r->message_chunk);
    psgd_status_t status      = PSGD_OK;

    for (uint64_t begin = 0; (begin < r->plan->total_elems) && (status == PSGD_OK); begin += piece_elems) {
        uint64_t end = psgd_min(r->plan->total_elems, begin + piece_elems);

        status = read_piece(r, begin, end);
        if (status == PSGD_OK) {
            psgd_norm_clip(r, piece, piece, (size_t)(end - begin));
            status = write_piece(r, begin, end);
        }
    }
    return status;
}

static psgd_status_t update_parameters(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_update_enqueue_written(r);

    return status == PSGD_OK ? psgd_device_wait(r->device, "the update of parameters") : status;
}

/* The next message compares what this one has brought. */
static void note_means(psgd_reducer_t *r, size_t elems)
{
    if (psgd_step_goes_on(r)) {
        r->means_hash =
            psgd_hash_u64(r->means_hash, psgd_hash_words(psgd_message_payload(&r->message_chunk), elems, 0));
    }
}

static void exchange_pieces(psgd_reducer_t *r)
{
    double   square      = 0.0;
    uint64_t piece_elems = r->message_chunk.capacity_elems;

    for (uint64_t begin = 0; (begin < r->plan->total_elems) && psgd_step_goes_on(r); begin += piece_elems) {
        uint64_t rest = r->plan->total_elems - begin;
        uint64_t end  = begin + (rest < piece_elems ? rest : piece_elems);

        psgd_step_note(r, read_piece(r, begin, end));
        psgd_exchange_begin(r, &r->message_chunk, (size_t)(end - begin), psgd_reducer_hash_bits(r));
        if (psgd_step_goes_on(r)) {
            psgd_exchange_finish(r, &r->message_chunk, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
        }
        psgd_exchange_average(r, &r->message_chunk);
        note_means(r, (size_t)(end - begin));
        square += psgd_norm_is_wanted(r)
                      ? psgd_norm_square(psgd_message_payload(&r->message_chunk), (size_t)(end - begin))
                      : 0.0;
        if (psgd_step_is_healthy(r)) {
            psgd_step_note(r, write_piece(r, begin, end));
        }
    }
    if (psgd_norm_is_wanted(r) && psgd_step_goes_on(r)) {
        psgd_norm_take(r, square);
    }
    if ((r->step.clip < 1.0f) && psgd_step_is_healthy(r)) {
        psgd_step_note(r, clip_pieces(r));
    }
    if ((r->step.update != NULL) && psgd_step_is_healthy(r)) {
        psgd_step_note(r, update_parameters(r));
    }
}

void psgd_step_plain(psgd_reducer_t *r)
{
    psgd_phase_exchange(r, PSGD_PHASE_EXCHANGE_PLAIN, exchange_pieces);
}
