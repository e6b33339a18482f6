/* What psgd-advise computes: against values computed by hand, and what must hold whatever the figures. */
#include <math.h>
#include <string.h>

#include "device.h"
#include "link.h"
#include "predict.h"
#include "support/suite.h"
#include "tool_asserts.h"

#define assert_near(value_, expected_) ck_assert_double_eq_tol((value_), (expected_), 1e-12 + 1e-9 * fabs(expected_))

/* 10 us, 1 ns a byte on the wire, 0.25 ns on the hosts. */
static const network_t LINK = {.latency_s = 1e-5, .wire_s_per_byte = 1e-9, .host_s_per_byte = 0.25e-9};

/* Three buckets, 1000 matrix elements each at rank r: P and Q of 10 r and 100 r elements; small and large tensors in the last. */
static traffic_t     buckets[3];
static bucket_list_t three = {buckets, 3, {0}}, one = {&three.total, 1, {0}};

static void setup(void)
{
    const traffic_t each = {.elems = 1000, .matrix_elems = 1000, .p_elems = 10, .q_elems = 100, .num_compressed = 1};

    for (size_t i = 0; i < 3; ++i) {
        buckets[i] = each;
    }
    buckets[2].small_elems = 500;
    buckets[2].large_elems = 2500;
    buckets[2].elems += 3000;
    three.total = (traffic_t){.elems          = 6000,
                              .matrix_elems   = 3000,
                              .p_elems        = 30,
                              .q_elems        = 300,
                              .small_elems    = 500,
                              .large_elems    = 2500,
                              .num_compressed = 3};
    one.total   = three.total;
}

static scenario_t scenario(const bucket_list_t *list, uint32_t workers, double backward_s)
{
    return (scenario_t){.buckets = list, .network = LINK, .workers = workers, .backward_s = backward_s};
}

static const local_costs_t LOCAL = {
    .compute_p_s = 3e-3, .compute_q_s = 6e-3, .decompress_s = 1e-3, .ortho_s = 2e-3, .host_s = 4e-3};

/* ---- messages ---- */

START_TEST(all_reduce__takes_what_its_formula_says)
{
    static const struct {
        uint32_t    workers;
        double      bytes;
        algorithm_t algorithm;
        double      seconds;
    } cases[] = {
        {1, 1e6, ALGORITHM_NONE, 0.0},
        {8, 0.0, ALGORITHM_NONE, 0.0},
        {2, 1e6, ALGORITHM_DOUBLING, 1e-5 + 1.25e-3},
        {8, 400.0, ALGORITHM_DOUBLING, 3.0 * (1e-5 + 500e-9)},
        {8, 1e6, ALGORITHM_TREE, 6e-5 + 2.0 * 7.0 / 8.0 * 1.25e-3},
        {3, 1e6, ALGORITHM_RING, 4e-5 + 4.0 / 3.0 * 1.25e-3},
        {3, 400.0, ALGORITHM_DOUBLING,
         3.0 * (1e-5 + 500e-9)}, /* one round of two workers, and the third's two messages */
        {4096, 1e9, ALGORITHM_TREE, 24e-5 + 2.0 * 4095.0 / 4096.0 * 1.25},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        algorithm_t which = ALGORITHM_NONE;

        assert_near(predict_all_reduce(&LINK, cases[i].workers, cases[i].bytes, &which), cases[i].seconds);
        ck_assert_int_eq(which, cases[i].algorithm);
    }
}
END_TEST

START_TEST(all_reduce__never_gets_slower_on_a_faster_link)
{
    for (uint32_t workers = 2; workers <= 4096; workers = workers * 3 / 2 + 1) {
        for (double bytes = 1.0; bytes < 1e10; bytes *= 7.0) {
            double before = (double)INFINITY;

            for (double gbps = 0.01; gbps < 1e4; gbps *= 1.7) {
                const network_t network = network_with_gbps(&LINK, gbps);
                const double    now     = predict_all_reduce(&network, workers, bytes, NULL);

                ck_assert_double_lt(now, before);
                before = now;
            }
        }
    }
}
END_TEST

START_TEST(curves__go_by_the_logarithm_between_points_and_stay_beyond_them)
{
    const network_t network = {
        .wire_s_per_byte = 7e-9, .host_s_per_byte = 1e-9, .wire = {{{1e3, 4e-9}, {1e5, 2e-9}}, 2}};
    const network_t other = network_with_gbps(&network, 8.0);

    assert_near(network_wire_s_per_byte(&network, 1.0), 4e-9);
    assert_near(network_wire_s_per_byte(&network, 1e3), 4e-9);
    assert_near(network_wire_s_per_byte(&network, 1e4), 3e-9);
    assert_near(network_wire_s_per_byte(&network, 1e9), 2e-9);
    assert_near(network_host_s_per_byte(&network, 1e4), 1e-9);
    assert_near(network_wire_s_per_byte(&other, 1e4), 1e-9);
}
END_TEST

START_TEST(link__a_fit_gives_back_what_was_measured)
{
    link_sample_t samples[3] = {{4.0, 3e-5}, {4096.0, 4e-5}, {1e7, 2e-2}};
    network_t     network;

    for (uint32_t workers = 2; workers <= 4; ++workers) {
        for (int in_memory = 0; in_memory < 2; ++in_memory) {
            link_fit(samples, 3, workers, in_memory != 0, 10.0, &network);
            for (size_t i = 0; i < 3;
                 ++i) { /* of more than two, short and long messages take other numbers of rounds */
                ck_assert_double_eq_tol(predict_all_reduce(&network, workers, samples[i].bytes, NULL),
                                        samples[i].seconds, workers == 2 ? 1e-7 : 4.0 * samples[0].seconds);
            }
            ck_assert_uint_eq(in_memory != 0 ? network.host.count : network.wire.count, 2);
            ck_assert(in_memory == 0 || network.wire_s_per_byte == 0.0);
        }
    }
}
END_TEST

START_TEST(messages__have_votes_whose_size_goes_by_the_number_of_workers)
{
    assert_near(predict_message_bytes(100, 2), 400.0 + 268.0);
    assert_near(predict_message_bytes(100, 258), 400.0 + 268.0);
    assert_near(predict_message_bytes(100, 259), 400.0 + 460.0);
}
END_TEST

/* ---- a worker for itself ---- */

START_TEST(local__a_described_device_takes_what_its_passes_move_or_compute)
{
    const device_rates_t device  = {.bytes_per_s         = 1e9,
                                    .flops_per_s         = 1e10,
                                    .launch_s            = 1e-6,
                                    .staging_bytes_per_s = 1e8,
                                    .staging_latency_s   = 1e-5};
    traffic_t            traffic = {.matrix_elems = 1000000, .p_elems = 1000, .q_elems = 3000, .small_elems = 250};
    local_costs_t        local   = predict_local(&device, &traffic, 2, false);

    assert_near(local.compute_p_s, 12e-3);
    assert_near(local.compute_q_s, 4e-3);
    assert_near(local.decompress_s, 12e-3);
    assert_near(local.ortho_s, 2.0 * 8.0 * 1e-6 + 4.0 * 2.0 * 4000.0 / 1e10);
    assert_near(local.host_s, 4e-5 + 8.0 * 4250.0 / 1e8 + 8e-6);
    assert_near(predict_local(&device, &traffic, 2, true).decompress_s, 4e-3);
    assert_near(predict_local(&device, &traffic, 100, false).compute_q_s, 2.0 * 1e6 * 100.0 / 1e10);
    assert_near(predict_local(&device, &traffic, 100, true).compute_p_s, 4.0 * 1e6 * 100.0 / 1e10);
    traffic.elems = 1000000;
    assert_near(predict_copies(&device, &traffic, false), 2e-5 + 8e-2);
    assert_near(predict_copies(&device, &traffic, true), 0.0);
}
END_TEST

START_TEST(local__a_part_of_a_model_is_scaled_by_what_each_cost_goes_by)
{
    const traffic_t     from = {.matrix_elems = 100, .p_elems = 10, .q_elems = 10, .small_elems = 20};
    const traffic_t     to   = {.matrix_elems = 300, .p_elems = 20, .q_elems = 20, .small_elems = 60};
    const local_costs_t out  = local_scale(&LOCAL, &from, &to);

    assert_near(out.compute_p_s, 9e-3);
    assert_near(out.compute_q_s, 18e-3);
    assert_near(out.decompress_s, 3e-3);
    assert_near(out.ortho_s, 4e-3);
    assert_near(out.host_s, 10e-3);
    assert_near(local_sum(&LOCAL), 16e-3);
}
END_TEST

START_TEST(local__phases_and_the_rest_come_to_the_step)
{
    double        phases[PSGD_NUM_PHASES] = {0.0};
    local_costs_t costs;

    phases[PSGD_PHASE_COMPUTE_P]        = 2e-3;
    phases[PSGD_PHASE_COMPUTE_Q]        = 1e-3;
    phases[PSGD_PHASE_DECOMPRESS]       = 1e-3;
    phases[PSGD_PHASE_ORTHONORMALIZE_Q] = 0.25e-3;
    phases[PSGD_PHASE_ORTHOGONALIZE_P]  = 0.75e-3;
    costs                               = device_costs(phases, 7e-3);
    assert_near(costs.ortho_s, 1e-3);
    assert_near(costs.host_s, 2e-3);
    costs = device_costs(phases, 4e-3); /* what draining costs is taken off */
    assert_near(costs.host_s, 0.0);
    assert_near(costs.compute_p_s, 1.6e-3);
    assert_near(local_sum(&costs), 4e-3);
}
END_TEST

START_TEST(part__takes_tensors_while_there_is_room)
{
    model_t model = {0}, part = {0}, none = {0};

    assert_tool_ok(MODEL_ADD(&model, "large", 1000, 1000));
    assert_tool_ok(MODEL_ADD(&model, "matrix", 10, 20));
    assert_tool_ok(MODEL_ADD(&model, "vector", 50));
    assert_tool_ok(device_part_of(&model, 250, &part));
    ck_assert_uint_eq(part.count, 2);
    ck_assert_uint_eq(part.elems, 250);
    assert_tool_fails(device_part_of(&model, 199, &none), TOOL_FAILED,
                      "no tensor of two dims or more fits into 199 elements");
    model_free(&none);
    model_free(&part);
    model_free(&model);
}
END_TEST

/* ---- a step ---- */

START_TEST(step__of_one_bucket_is_computing_and_messages_one_after_the_other)
{
    const scenario_t s        = scenario(&one, 2, 0.0);
    const double     per_byte = 1.25e-9;
    const double     messages = 3.0 * 1e-5 + per_byte * (4.0 * (2500.0 + 530.0 + 300.0) + 3.0 * 268.0);

    assert_near(predict_messages(&s), messages);
    assert_near(predict_step(&s, &LOCAL), 16e-3 + messages);
    assert_near(predict_plain(&s, 5e-3), 5e-3 + 1e-5 + per_byte * 24000.0);
}
END_TEST

START_TEST(step__one_bucket_is_all_exposed_behind_any_backward_pass)
{
    const scenario_t at_once = scenario(&one, 8, 0.0), behind = scenario(&one, 8, 0.5);

    assert_near(predict_step(&behind, &LOCAL), predict_step(&at_once, &LOCAL));
    assert_near(predict_plain(&behind, 1e-3), predict_plain(&at_once, 1e-3));
}
END_TEST

/* Backward 6 s: shares 1, 1 and 4 s. All computing takes no time, and a message of a bucket 2 s at least. */
START_TEST(plain__what_is_sent_beside_the_backward_pass_is_hidden)
{
    scenario_t s = scenario(&three, 2, 6.0);

    s.network = (network_t){.latency_s = 2.0};
    /* ready at 1, 2, 6; sent at 3, 5, 8 */
    assert_near(predict_plain(&s, 0.0), 2.0);
    s.network.latency_s = 5.0; /* 6, 11, 16 */
    assert_near(predict_plain(&s, 0.0), 10.0);
}
END_TEST

START_TEST(step__buckets_go_through_device_and_network_in_order)
{
    const local_costs_t free_of_cost = {0}, only_q = {.compute_q_s = 3.0};
    scenario_t          s = scenario(&three, 2, 6.0);

    s.network = (network_t){.latency_s = 1.0};
    /* P of bucket 0: 1 to 2. P of 1 at 2 to 3, and Q of 0, computed at 2, to 4. Bucket 2 comes at 6: Q of 1, P arrived at 3, is sent
     * behind its large tensors and P, 6 to 8, at 9; Q of 2, at 8, by 10. */
    assert_near(predict_step(&s, &free_of_cost), 4.0);
    /* Q takes the device 1 s a bucket: P0 is sent 1 to 2, P1 2 to 3; Q0 computed 2 to 3 and sent to 4, Q1 3 to 4 and to 5; the pass goes on
     * 4 to 8, large tensors and P2 are sent 8 to 10, Q2 computed to 11 and sent to 12. */
    assert_near(predict_step(&s, &only_q), 6.0);
}
END_TEST

START_TEST(step__one_worker_sends_nothing)
{
    const scenario_t s = scenario(&three, 1, 0.0);

    assert_near(predict_messages(&s), 0.0);
    assert_near(predict_plain(&s, 1.0), 0.0);
    assert_near(predict_step(&s, &LOCAL), 16e-3);
    assert_near(predict_break_even(&s, &LOCAL, 1.0), 0.0);
}
END_TEST

START_TEST(step__never_gets_slower_on_a_faster_link)
{
    for (double backward_s = 0.0; backward_s < 0.1; backward_s = 2.0 * backward_s + 1e-3) {
        scenario_t s      = scenario(&three, 16, backward_s);
        double     before = (double)INFINITY, plain_before = (double)INFINITY;

        for (double gbps = 1e-3; gbps < 1e3; gbps *= 2.0) {
            s.network = network_with_gbps(&LINK, gbps);
            ck_assert_double_le(predict_step(&s, &LOCAL), before * (1.0 + 1e-12));
            ck_assert_double_le(predict_plain(&s, 0.0), plain_before * (1.0 + 1e-12));
            before       = predict_step(&s, &LOCAL);
            plain_before = predict_plain(&s, 0.0);
        }
    }
}
END_TEST

START_TEST(break_even__both_ways_take_as_long_there)
{
    for (uint32_t workers = 2; workers <= 4096; workers *= 4) {
        for (int is_overlapped = 0; is_overlapped < 2; ++is_overlapped) {
            scenario_t   s    = scenario(is_overlapped != 0 ? &three : &one, workers, is_overlapped != 0 ? 5e-3 : 0.0);
            const double gbps = predict_break_even(&s, &LOCAL, 0.0);

            ck_assert(gbps > 0.0 && isfinite(gbps));
            s.network = network_with_gbps(&LINK, gbps);
            ck_assert_double_eq_tol(predict_step(&s, &LOCAL), predict_plain(&s, 0.0), 1e-6 * predict_step(&s, &LOCAL));
            s.network = network_with_gbps(&LINK, 0.9 * gbps);
            ck_assert_double_lt(predict_step(&s, &LOCAL), predict_plain(&s, 0.0));
            s.network = network_with_gbps(&LINK, 1.1 * gbps);
            ck_assert_double_gt(predict_step(&s, &LOCAL), predict_plain(&s, 0.0));
        }
    }
}
END_TEST

START_TEST(break_even__always_and_never_are_told)
{
    const local_costs_t free_of_cost = {0}, dear = {.compute_p_s = 1e9};
    const scenario_t    s = scenario(&one, 4, 0.0);

    ck_assert(isinf(predict_break_even(&s, &free_of_cost, 10.0)));
    assert_near(predict_break_even(&s, &dear, 0.0), 0.0);
}
END_TEST

START_TEST(plain__sent_by_devices_costs_hosts_nothing)
{
    scenario_t s = scenario(&one, 2, 0.0);

    s.network.host    = (cost_curve_t){{{1.0, 5e-9}}, 1};
    s.plain_is_direct = true;
    assert_near(predict_plain(&s, 0.0), 1e-5 + 24000e-9);
    s.plain_is_direct = false;
    assert_near(predict_plain(&s, 0.0), 1e-5 + 6.0 * 24000e-9);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("advise_predict");
    TCase *tcase = tcase_create("predict");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, all_reduce__takes_what_its_formula_says);
    tcase_add_test(tcase, all_reduce__never_gets_slower_on_a_faster_link);
    tcase_add_test(tcase, curves__go_by_the_logarithm_between_points_and_stay_beyond_them);
    tcase_add_test(tcase, link__a_fit_gives_back_what_was_measured);
    tcase_add_test(tcase, messages__have_votes_whose_size_goes_by_the_number_of_workers);
    tcase_add_test(tcase, local__a_described_device_takes_what_its_passes_move_or_compute);
    tcase_add_test(tcase, local__a_part_of_a_model_is_scaled_by_what_each_cost_goes_by);
    tcase_add_test(tcase, local__phases_and_the_rest_come_to_the_step);
    tcase_add_test(tcase, part__takes_tensors_while_there_is_room);
    tcase_add_test(tcase, step__of_one_bucket_is_computing_and_messages_one_after_the_other);
    tcase_add_test(tcase, step__one_bucket_is_all_exposed_behind_any_backward_pass);
    tcase_add_test(tcase, plain__what_is_sent_beside_the_backward_pass_is_hidden);
    tcase_add_test(tcase, step__buckets_go_through_device_and_network_in_order);
    tcase_add_test(tcase, step__one_worker_sends_nothing);
    tcase_add_test(tcase, step__never_gets_slower_on_a_faster_link);
    tcase_add_test(tcase, break_even__both_ways_take_as_long_there);
    tcase_add_test(tcase, break_even__always_and_never_are_told);
    tcase_add_test(tcase, plain__sent_by_devices_costs_hosts_nothing);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
