/* The vote: what W workers say, read from sums alone. */
#include <math.h>
#include <stdlib.h>

#include "core/vote.h"
#include "support/suite.h"

/* The sums of num_workers ballots, added up in an order that `reversed` turns round. */
static float *sum_ballots(const psgd_ballot_t *ballots, uint32_t num_workers, bool reversed)
{
    size_t elems = psgd_vote_elems(num_workers);
    float *sums  = calloc(elems, sizeof(*sums));
    float *one   = calloc(elems, sizeof(*one));

    for (uint32_t i = 0; i < num_workers; ++i) {
        psgd_vote_cast(&ballots[reversed ? num_workers - 1 - i : i], num_workers, one);
        for (size_t k = 0; k < elems; ++k) {
            sums[k] += one[k];
        }
    }
    free(one);
    return sums;
}

static psgd_verdict_t count(const psgd_ballot_t *ballots, uint32_t num_workers)
{
    float         *sums     = sum_ballots(ballots, num_workers, false);
    float         *reversed = sum_ballots(ballots, num_workers, true);
    psgd_verdict_t verdict  = psgd_vote_count(sums, num_workers);

    ck_assert_mem_eq(sums, reversed, psgd_vote_elems(num_workers) * sizeof(*sums));
    free(reversed);
    free(sums);
    return verdict;
}

static psgd_ballot_t *equal_ballots(uint32_t num_workers, uint64_t item)
{
    psgd_ballot_t *ballots = calloc(num_workers, sizeof(*ballots));

    for (uint32_t w = 0; w < num_workers; ++w) {
        for (int i = 0; i < PSGD_VOTE_NUM_ITEMS; ++i) {
            ballots[w].items[i] = item;
        }
    }
    return ballots;
}

static const uint32_t WORKERS[] = {1, 2, 3, 4, 7, 64, 257, 258, 259, 1000, PSGD_MAX_WORKERS};

enum { NUM_WORKERS = sizeof(WORKERS) / sizeof(WORKERS[0]) };

START_TEST(vote__sums_are_exact_and_equal_items_read_as_equal_up_to_the_largest_number_of_workers)
{
    uint32_t       num_workers = WORKERS[_i];
    psgd_ballot_t *ballots     = equal_ballots(num_workers, UINT64_MAX);
    psgd_verdict_t verdict     = count(ballots, num_workers);

    ck_assert(verdict.is_readable);
    ck_assert_int_eq(verdict.failure, PSGD_OK);
    for (int i = 0; i < PSGD_VOTE_NUM_ITEMS; ++i) {
        ck_assert(verdict.is_equal[i]);
    }
    free(ballots);
}
END_TEST

/* A flag for each status; and of each item 64 bits, in pieces of 8 while squares of those add up exactly, then of 4: of each the sum
 * and that of squares. */
START_TEST(vote__takes_no_more_room_than_sums_need_to_be_exact)
{
    size_t flags = 0;

#define ROW(name_, value_, text_) flags += 1;
    PSGD_STATUS_TABLE(ROW)
#undef ROW
    ck_assert_uint_eq(psgd_vote_elems(1), flags + PSGD_VOTE_NUM_ITEMS * 8 * 2);
    ck_assert_uint_eq(psgd_vote_elems(258), flags + PSGD_VOTE_NUM_ITEMS * 8 * 2);
    ck_assert_uint_eq(psgd_vote_elems(259), flags + PSGD_VOTE_NUM_ITEMS * 16 * 2);
}
END_TEST

START_TEST(vote__one_differing_bit_of_one_worker_is_seen)
{
    uint32_t num_workers = WORKERS[_i];

    if ((num_workers == 1) || (num_workers > 1000)) {
        return; /* alone nothing differs; 64 x 74565 ballots take too long */
    }
    for (unsigned bit = 0; bit < 64; ++bit) {
        psgd_ballot_t *ballots = equal_ballots(num_workers, UINT64_C(0xA5A5000000FF5A5A));
        psgd_verdict_t verdict;

        ballots[num_workers / 2].items[PSGD_VOTE_BITS] ^= UINT64_C(1) << bit;
        verdict = count(ballots, num_workers);
        ck_assert(!verdict.is_equal[PSGD_VOTE_BITS]);
        ck_assert(verdict.is_equal[PSGD_VOTE_STEP] && verdict.is_equal[PSGD_VOTE_PLAN]);
        free(ballots);
    }
}
END_TEST

START_TEST(vote__items_with_the_same_sum_are_told_apart)
{
    /* Sums alone would not tell {1, 3} from {2, 2}. */
    psgd_ballot_t ballots[2] = {{PSGD_OK, {1, 7, 7}}, {PSGD_OK, {3, 7, 7}}};

    ck_assert(!count(ballots, 2).is_equal[PSGD_VOTE_STEP]);
}
END_TEST

START_TEST(vote__failures_are_counted_and_the_gravest_is_returned)
{
    psgd_ballot_t *ballots = equal_ballots(5, 9);
    psgd_verdict_t verdict;

    ballots[1].failure = PSGD_ERR_NONFINITE;
    ballots[4].failure = PSGD_ERR_DEVICE_MEMORY;
    verdict            = count(ballots, 5);
    ck_assert_int_eq(verdict.failure, PSGD_ERR_DEVICE_MEMORY);
    ck_assert_uint_eq(verdict.num_failed, 2);
    ballots[2].failure = PSGD_ERR_POISONED; /* ends the reducer, so it comes before what can be tried again */
    verdict            = count(ballots, 5);
    ck_assert_int_eq(verdict.failure, PSGD_ERR_POISONED);
    ck_assert_uint_eq(verdict.num_failed, 3);
    free(ballots);
}
END_TEST

START_TEST(vote__damaged_sums_are_not_readable)
{
    psgd_ballot_t *ballots  = equal_ballots(3, 12345);
    float         *sums     = sum_ballots(ballots, 3, false);
    const float    damage[] = {NAN, INFINITY, -1.0f, 0.5f, 1e9f};
    size_t         elems    = psgd_vote_elems(3);

    for (size_t k = 0; k < elems; ++k) {
        for (size_t d = 0; d < sizeof(damage) / sizeof(damage[0]); ++d) {
            float kept = sums[k];

            sums[k] = damage[d];
            ck_assert(!psgd_vote_count(sums, 3).is_readable);
            sums[k] = kept;
        }
    }
    ck_assert(psgd_vote_count(sums, 3).is_readable);
    free(sums);
    free(ballots);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vote");
    TCase *tcase = tcase_create("vote");

    tcase_add_test(tcase, vote__takes_no_more_room_than_sums_need_to_be_exact);
    tcase_add_loop_test(tcase, vote__sums_are_exact_and_equal_items_read_as_equal_up_to_the_largest_number_of_workers, 0,
                        NUM_WORKERS);
    tcase_add_loop_test(tcase, vote__one_differing_bit_of_one_worker_is_seen, 0, NUM_WORKERS);
    tcase_add_test(tcase, vote__items_with_the_same_sum_are_told_apart);
    tcase_add_test(tcase, vote__failures_are_counted_and_the_gravest_is_returned);
    tcase_add_test(tcase, vote__damaged_sums_are_not_readable);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
