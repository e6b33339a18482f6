#include "core/vote.h"

/* FLAGS[i] is what flag i means. */
static const psgd_status_t FLAGS[] = {
#define ROW(name_, value_, text_) PSGD_##name_,
    PSGD_STATUS_TABLE(ROW)
#undef ROW
};

enum {
    NUM_FLAGS          = sizeof(FLAGS) / sizeof(FLAGS[0]),
    ITEM_BITS          = 64,
    MAX_WORKERS_8_BITS = 258 /* 258 * 255^2 < 2^24 <= 259 * 255^2 */
};

static unsigned piece_bits(uint32_t num_workers)
{
    return num_workers <= MAX_WORKERS_8_BITS ? 8 : 4;
}

size_t psgd_vote_elems(uint32_t num_workers)
{
    return NUM_FLAGS + (size_t)PSGD_VOTE_NUM_ITEMS * (ITEM_BITS / piece_bits(num_workers)) * 2;
}

void psgd_vote_cast(const psgd_ballot_t *ballot, uint32_t num_workers, float *vote)
{
    unsigned bits = piece_bits(num_workers);
    uint64_t mask = (UINT64_C(1) << bits) - 1;

    for (int i = 0; i < NUM_FLAGS; ++i) {
        *vote++ = (ballot->failure == FLAGS[i]) && (FLAGS[i] != PSGD_OK) ? 1.0f : 0.0f;
    }
    for (int item = 0; item < PSGD_VOTE_NUM_ITEMS; ++item) {
        for (unsigned shift = 0; shift < ITEM_BITS; shift += bits) {
            float x = (float)((ballot->items[item] >> shift) & mask);

            *vote++ = x;
            *vote++ = x * x;
        }
    }
}

/* A float that is a whole number from 0 to limit, as an integer. */
static bool read_count(float value, uint64_t limit, uint64_t *count_p)
{
    if (!(value >= 0.0f) || (value > (float)limit) || (value != (float)(uint64_t)value)) {
        return false;
    }
    *count_p = (uint64_t)value;
    return true;
}

/* One item: equal, if W * sum(x^2) = (sum x)^2 in every piece. False where the sums cannot be read. */
static bool count_item(const float *sums, uint32_t num_workers, bool *is_equal_p)
{
    unsigned bits  = piece_bits(num_workers);
    uint64_t max_x = (UINT64_C(1) << bits) - 1;

    *is_equal_p = true;
    for (unsigned shift = 0; shift < ITEM_BITS; shift += bits, sums += 2) {
        uint64_t sum_x, sum_x2;

        if (!read_count(sums[0], max_x * num_workers, &sum_x) ||
            !read_count(sums[1], max_x * max_x * num_workers, &sum_x2)) {
            return false;
        }
        if (num_workers * sum_x2 != sum_x * sum_x) {
            *is_equal_p = false;
        }
    }
    return true;
}

bool psgd_status_poisons(psgd_status_t status)
{
    switch (status) {
    case PSGD_ERR_COMM:
    case PSGD_ERR_TIMEOUT:
    case PSGD_ERR_MISMATCH:
    case PSGD_ERR_DIVERGED:
    case PSGD_ERR_POISONED:
    case PSGD_ERR_INTERNAL:
        return true;
    default:
        return false;
    }
}

/* Of two failures the one that all workers return: one that poisons comes first, then the order of the status table. */
static psgd_status_t graver(psgd_status_t so_far, psgd_status_t next)
{
    if ((so_far == PSGD_OK) || (psgd_status_poisons(next) && !psgd_status_poisons(so_far))) {
        return next;
    }
    return so_far;
}

psgd_verdict_t psgd_vote_count(const float *vote, uint32_t num_workers)
{
    psgd_verdict_t verdict    = {PSGD_OK, 0, {false}, true};
    size_t         item_elems = (psgd_vote_elems(num_workers) - NUM_FLAGS) / PSGD_VOTE_NUM_ITEMS;

    for (int i = 0; i < NUM_FLAGS; ++i) {
        uint64_t failed = 0;

        verdict.is_readable = verdict.is_readable && read_count(vote[i], num_workers, &failed);
        if (failed > 0) {
            verdict.failure = graver(verdict.failure, FLAGS[i]);
        }
        verdict.num_failed += (uint32_t)failed;
    }
    for (int item = 0; item < PSGD_VOTE_NUM_ITEMS; ++item) {
        verdict.is_readable = verdict.is_readable && count_item(vote + NUM_FLAGS + (size_t)item * item_elems, num_workers,
                                                                &verdict.is_equal[item]);
    }
    return verdict;
}
