/* Wrong calls before there is a reducer, through the public API: words and variables, devices, communicators, creation. Each ends
 * with its status, a sentence that names the cause, and no effect on what follows. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "system/bad_input.h"

/* What a later release may append to a struct: here, and at most. */
enum { LATER_BYTES = 16, MOST_LATER_BYTES = 65536 };

/* --- words and variables ------------------------------------------------------------------------------------------ */

START_TEST(words__of_values_that_are_none)
{
    static const int NO_VALUES[] = {-1000, 1, 1000};

    for (size_t i = 0; i < sizeof(NO_VALUES) / sizeof(NO_VALUES[0]); ++i) {
        ck_assert_str_eq(psgd_status_string((psgd_status_t)NO_VALUES[i]), "unknown status");
        ck_assert_str_eq(psgd_status_name((psgd_status_t)NO_VALUES[i]), "unknown status");
        bad_input_count_case();
    }
    ck_assert_str_eq(psgd_engine_name((psgd_engine_t)-1), "unknown");
    ck_assert_str_eq(psgd_engine_name((psgd_engine_t)3), "unknown");
    bad_input_count_case();
    ck_assert_str_eq(psgd_phase_name((psgd_phase_t)-1), "unknown");
    ck_assert_str_eq(psgd_phase_name(PSGD_NUM_PHASES), "unknown");
    bad_input_count_case();
}
END_TEST

START_TEST(env__behind_the_last_variable_and_without_a_place_to_write_to)
{
    psgd_env_info_t info  = {"untouched", NULL, NULL};
    size_t          count = 0;

    while (psgd_env_get(count, &info)) {
        count += 1;
    }
    ck_assert_uint_gt(count, 0);
    info.name = "untouched";
    ck_assert_int_eq(psgd_env_get(count, &info), 0);
    ck_assert_int_eq(psgd_env_get(SIZE_MAX, &info), 0);
    ck_assert_str_eq(info.name, "untouched");
    bad_input_count_case();
    ck_assert_int_eq(psgd_env_get(0, NULL), 0);
    bad_input_count_case();
}
END_TEST

START_TEST(destroy__of_nothing_does_nothing)
{
    psgd_reducer_destroy(NULL);
    psgd_comm_destroy(NULL);
    psgd_state_destroy(NULL);
    bad_input_count_case();
}
END_TEST

/* --- devices ------------------------------------------------------------------------------------------------------ */

START_TEST(device_list__refuses_places_that_it_cannot_write_to)
{
    const psgd_device_info_t blank    = PSGD_DEVICE_INFO_INIT;
    psgd_device_info_t       infos[2] = {PSGD_DEVICE_INFO_INIT, PSGD_DEVICE_INFO_INIT};
    size_t                   count    = 77;

    assert_refused(psgd_device_list(NULL, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "count_p is NULL");
    assert_refused_unwritten(infos, psgd_device_list(infos, 2, NULL), PSGD_ERR_INVALID_ARGUMENT, "count_p is NULL");
    assert_refused_unwritten(count, psgd_device_list(NULL, 3, &count), PSGD_ERR_INVALID_ARGUMENT,
                             "infos is NULL with a capacity of 3");
    infos[0].struct_size = 0;
    assert_refused_unwritten(infos, psgd_device_list(infos, 2, &count), PSGD_ERR_INVALID_ARGUMENT,
                             "infos[0] has struct_size 0; initialize it with PSGD_DEVICE_INFO_INIT");
    infos[0]             = blank;
    infos[1].struct_size = sizeof(blank) - 8;
    assert_refused_unwritten(infos, psgd_device_list(infos, 2, &count), PSGD_ERR_INVALID_ARGUMENT,
                             "infos[1].struct_size");
    infos[0].struct_size = sizeof(blank) + MOST_LATER_BYTES + 1;
    assert_refused_unwritten(infos, psgd_device_list(infos, 1, &count), PSGD_ERR_INVALID_ARGUMENT,
                             "PSGD_DEVICE_INFO_INIT");
    ck_assert_uint_eq(count, 77);
}
END_TEST

START_TEST(device_find__refuses_words_that_fit_no_device)
{
    static const char *const NO_DEVICES[] = {
        "1000000", "99999999999999999999", "0:1000", "1000:0", "no such device", "0:", ":0", "-1"};
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;

    for (size_t i = 0; i < sizeof(NO_DEVICES) / sizeof(NO_DEVICES[0]); ++i) {
        assert_refused_unwritten(info, psgd_device_find(NO_DEVICES[i], &info), PSGD_ERR_NO_DEVICE, NO_DEVICES[i]);
        ck_assert_ptr_nonnull(strstr(psgd_last_error(), workers_device(0)->info.name)); /* what there is */
    }
    assert_refused(psgd_device_find(NULL, NULL), PSGD_ERR_INVALID_ARGUMENT, "info_p is NULL");
    info.struct_size = 1;
    assert_refused_unwritten(info, psgd_device_find(NULL, &info), PSGD_ERR_INVALID_ARGUMENT, "PSGD_DEVICE_INFO_INIT");
    memset(&info, 0xa5, sizeof(info));
    assert_refused_unwritten(info, psgd_device_find("0", &info), PSGD_ERR_INVALID_ARGUMENT, "PSGD_DEVICE_INFO_INIT");
}
END_TEST

START_TEST(device_find__refuses_an_environment_variable_that_fits_no_device)
{
    const char        *set  = getenv("PSGD_DEVICE");
    char              *kept = set != NULL ? strdup(set) : NULL;
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;

    ck_assert_int_eq(setenv("PSGD_DEVICE", "none of the devices", 1), 0);
    assert_refused_unwritten(info, psgd_device_find(NULL, &info), PSGD_ERR_NO_DEVICE, "none of the devices");
    assert_refused_unwritten(info, psgd_device_find("", &info), PSGD_ERR_NO_DEVICE, "none of the devices");
    ck_assert_int_eq(kept != NULL ? setenv("PSGD_DEVICE", kept, 1) : unsetenv("PSGD_DEVICE"), 0);
    free(kept);
}
END_TEST

START_TEST(selftest__refuses_a_device_or_a_place_that_is_none)
{
    psgd_selftest_t selftest = PSGD_SELFTEST_INIT;

    assert_refused_unwritten(selftest, psgd_device_selftest(NULL, &selftest), PSGD_ERR_INVALID_ARGUMENT,
                             "device is NULL");
    assert_refused(psgd_device_selftest(workers_device(0)->id, NULL), PSGD_ERR_INVALID_ARGUMENT, "selftest_p is NULL");
    selftest.struct_size = sizeof(selftest) - 1;
    assert_refused_unwritten(selftest, psgd_device_selftest(workers_device(0)->id, &selftest),
                             PSGD_ERR_INVALID_ARGUMENT, "PSGD_SELFTEST_INIT");
}
END_TEST

/* --- communicators ------------------------------------------------------------------------------------------------ */

START_TEST(comms__refuse_numbers_of_workers_that_cannot_be)
{
    psgd_comm_t *comms[2] = {NULL, NULL};

    assert_refused(psgd_comm_self_create(NULL), PSGD_ERR_INVALID_ARGUMENT, "comm_p is NULL");
    assert_refused(psgd_comm_threads_create(2, NULL), PSGD_ERR_INVALID_ARGUMENT, "comms_p is NULL");
    assert_refused_unwritten(comms, psgd_comm_threads_create(0, comms), PSGD_ERR_INVALID_ARGUMENT, "num_workers is 0");
    assert_refused_unwritten(comms, psgd_comm_threads_create(1025, comms), PSGD_ERR_INVALID_ARGUMENT,
                             "num_workers is 1025");
    assert_refused_unwritten(comms, psgd_comm_threads_create(UINT32_MAX, comms), PSGD_ERR_INVALID_ARGUMENT,
                             "num_workers is 4294967295");
}
END_TEST

START_TEST(comm_fail__takes_sentences_of_any_length_and_none)
{
    static char long_words[100000];

    memset(long_words, 'x', sizeof(long_words) - 1);
    ck_assert_int_eq(psgd_comm_fail(PSGD_ERR_COMM, "the cable %s", long_words), PSGD_ERR_COMM);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "the cable xxx"));
    bad_input_count_case();
    ck_assert_int_eq(psgd_comm_fail(PSGD_ERR_TIMEOUT, NULL), PSGD_ERR_TIMEOUT);
    ck_assert_str_eq(psgd_last_error(), psgd_status_string(PSGD_ERR_TIMEOUT));
    bad_input_count_case();
}
END_TEST

/* --- creation ----------------------------------------------------------------------------------------------------- */

/* All refusals of one test meet the same communicator. */
static psgd_comm_t *the_comm;

static void open_the_comm(void)
{
    assert_ok(psgd_comm_self_create(&the_comm));
}

/* What was refused has left no trace: a reducer on this communicator makes the step of one on a communicator of its own. */
static void assert_the_comm_is_unharmed(void)
{
    bench_t bench = open_bench_on(the_comm);

    assert_unharmed(&bench, 0);
    close_bench(&bench);
}

/* Creation fails with this status and these words, and writes nothing. */
static void refuse_creation(const creation_t *creation, const psgd_comm_t *comm, psgd_status_t status,
                            const char *words)
{
    char            untouched;
    psgd_reducer_t *reducer = (psgd_reducer_t *)(void *)&untouched;

    assert_refused_unwritten(reducer, create(creation, comm, &reducer), status, words);
}

/* One case: a good creation that `spoil_` has changed. */
#define create_refuses(spoil_, status_, words_) \
    do { \
        creation_t bad = good_creation(); \
        spoil_; \
        refuse_creation(&bad, the_comm, status_, words_); \
    } while (0)

START_TEST(create__refuses_missing_arguments)
{
    creation_t      good    = good_creation();
    psgd_reducer_t *reducer = NULL;

    refuse_creation(&good, NULL, PSGD_ERR_INVALID_ARGUMENT, "comm is NULL");
    assert_refused(create(&good, the_comm, NULL), PSGD_ERR_INVALID_ARGUMENT, "reducer_p is NULL");
    assert_refused(psgd_reducer_create(good.context, good.device, good.queue, NULL, 1, NULL, the_comm, &reducer),
                   PSGD_ERR_INVALID_ARGUMENT, "no tensors (tensors is NULL");
    ck_assert_ptr_null(reducer);
    create_refuses(bad.num_tensors = 0, PSGD_ERR_INVALID_ARGUMENT, "num_tensors 0");
    create_refuses(bad.num_tensors = SIZE_MAX, PSGD_ERR_HOST_MEMORY, "the list of tensors");
    create_refuses(bad.num_tensors = SIZE_MAX / sizeof(psgd_tensor_t) + 1, PSGD_ERR_HOST_MEMORY, "the list of tensors");
}
END_TEST

START_TEST(create__refuses_names_that_are_none_or_not_unique)
{
    create_refuses(bad.tensors[1].name = "first.weight", PSGD_ERR_INVALID_ARGUMENT,
                   "tensors 0 'first.weight' and 1 'first.weight' have the same name");
    create_refuses(bad.tensors[1].name = NULL, PSGD_ERR_INVALID_ARGUMENT, "tensor 1 has no name");
    create_refuses(bad.tensors[0].name = "", PSGD_ERR_INVALID_ARGUMENT, "tensor 0 has no name");
    create_refuses((bad.config.flatten = 1, bad.config.rank = 1, bad.tensors[1].name = PSGD_FLATTENED_NAME),
                   PSGD_ERR_INVALID_ARGUMENT, "'(flattened)'");
}
END_TEST

#define TWO_TO(exponent_) (UINT64_C(1) << (exponent_))

static const struct {
    uint32_t      num_dims;
    uint64_t      dims[PSGD_MAX_DIMS];
    psgd_status_t status;
    const char   *words;
} bad_dims[] = {
    {0, {ROWS, COLS}, PSGD_ERR_INVALID_ARGUMENT, "tensor 0 'first.weight' has 0 dimensions"},
    {PSGD_MAX_DIMS + 1, {ROWS, COLS}, PSGD_ERR_INVALID_ARGUMENT, "tensor 0 'first.weight' has 9 dimensions"},
    {UINT32_MAX, {ROWS, COLS}, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has 4294967295 dimensions"},
    {2, {0, COLS}, PSGD_ERR_INVALID_ARGUMENT, "tensor 0 'first.weight': dims[0] is 0"},
    {2, {ROWS, 0}, PSGD_ERR_INVALID_ARGUMENT, "'first.weight': dims[1] is 0"},
    {8, {2, 2, 2, 2, 2, 2, 2, 0}, PSGD_ERR_INVALID_ARGUMENT, "'first.weight': dims[7] is 0"},
    {1, {TWO_TO(40)}, PSGD_ERR_INVALID_ARGUMENT, "2^40"},
    {2, {TWO_TO(20), TWO_TO(20)}, PSGD_ERR_INVALID_ARGUMENT, "'first.weight': the product of its dims reaches 2^40"},
    {2, {ROWS, TWO_TO(63)}, PSGD_ERR_INVALID_ARGUMENT, "2^40"},
    {2, {TWO_TO(32), TWO_TO(32)}, PSGD_ERR_INVALID_ARGUMENT, "2^40"}, /* their product is 2^64 */
    {8, {256, 256, 256, 256, 256, 256, 256, 256}, PSGD_ERR_INVALID_ARGUMENT, "2^40"},
    {2, {UINT64_MAX, UINT64_MAX}, PSGD_ERR_INVALID_ARGUMENT, "2^40"}, /* their product is 1 */
    {2, {TWO_TO(33), 64}, PSGD_ERR_UNSUPPORTED, "'first.weight': a matrix of 8589934592 x 64 has a side of 2^32"},
    {2, {64, TWO_TO(33)}, PSGD_ERR_UNSUPPORTED, "'first.weight': a matrix of 64 x 8589934592 has a side of 2^32"},
    {2, {TWO_TO(20), TWO_TO(19)}, PSGD_ERR_DEVICE_MEMORY, "the error memory"},
};

START_TEST(create__refuses_dimensions_that_cannot_be)
{
    creation_t creation = good_creation();

    creation.tensors[0].num_dims = bad_dims[_i].num_dims;
    memcpy(creation.tensors[0].dims, bad_dims[_i].dims, sizeof(bad_dims[_i].dims));
    refuse_creation(&creation, the_comm, bad_dims[_i].status, bad_dims[_i].words);
}
END_TEST

/* More tensors than fit in one reducer, all alike but for their names. */
static const struct {
    size_t             num_tensors;
    uint64_t           elems; /* of each */
    psgd_matrix_view_t view;
    psgd_status_t      status;
    const char        *words;
} crowds[] = {
    {257, TWO_TO(40) - 1, {0, 0, 0, 0, 0, 0}, PSGD_ERR_INVALID_ARGUMENT, "the tensors up to '256' hold more than 2^48"},
    {4097, TWO_TO(20) - 1, {TWO_TO(20) - 1, 1, 1, 1, 1, 1}, PSGD_ERR_UNSUPPORTED, "matrices; there may be 2^32 - 1"},
};

START_TEST(create__refuses_more_than_can_be_numbered)
{
    enum { MOST = 4097, NAME_BYTES = 8 };
    static psgd_tensor_t tensors[MOST];
    static char          names[MOST][NAME_BYTES];
    creation_t           creation = good_creation();
    psgd_reducer_t      *reducer  = NULL;

    for (size_t i = 0; i < crowds[_i].num_tensors; ++i) {
        snprintf(names[i], NAME_BYTES, "%u", (unsigned)i);
        tensors[i]      = job_tensor(names[i], crowds[_i].elems, 0);
        tensors[i].view = crowds[_i].view;
    }
    assert_refused_unwritten(reducer,
                             psgd_reducer_create(creation.context, creation.device, creation.queue, tensors,
                                                 crowds[_i].num_tensors, &creation.config, the_comm, &reducer),
                             crowds[_i].status, crowds[_i].words);
}
END_TEST

START_TEST(create__refuses_types_and_ranks_out_of_range)
{
    create_refuses(bad.tensors[0].dtype = (psgd_dtype_t)3, PSGD_ERR_UNSUPPORTED, "tensor 0 'first.weight' has dtype 3");
    create_refuses(bad.tensors[1].dtype = (psgd_dtype_t)-1, PSGD_ERR_UNSUPPORTED,
                   "tensor 1 'second.bias' has dtype -1");
    create_refuses((bad.tensors[0].dtype = PSGD_F16, bad.tensors[0].dims[0] = bad.tensors[0].dims[1] = 65536),
                   PSGD_ERR_UNSUPPORTED, "'first.weight' has 4294967296 elements: a gradient in 16 bits");
    create_refuses(bad.tensors[0].rank = PSGD_MAX_RANK + 1, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has rank 1025");
    create_refuses(bad.tensors[0].rank = -2, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has rank -2");
    create_refuses(bad.tensors[0].rank = INT32_MIN, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has rank -2147483648");
    create_refuses(bad.tensors[1].rank = INT32_MAX, PSGD_ERR_INVALID_ARGUMENT, "'second.bias' has rank 2147483647");
    create_refuses((bad.config.flatten = 1, bad.tensors[0].rank = 2), PSGD_ERR_INVALID_ARGUMENT,
                   "tensor 0 'first.weight' has rank 2; with config.flatten it must be 0");
    create_refuses(bad.config.rank = 0, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0");
    create_refuses(bad.config.rank = PSGD_MAX_RANK + 1, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 1025");
    create_refuses(bad.config.rank = UINT32_MAX, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 4294967295");
}
END_TEST

/* Of a tensor of 24 x 40. */
static const struct {
    psgd_matrix_view_t view;
    const char        *words;
} bad_views[] = {
    {{0, ROWS, COLS, ELEMS, COLS, 1}, "none may be 0"},
    {{1, 0, COLS, ELEMS, COLS, 1}, "none may be 0"},
    {{1, ROWS, 0, ELEMS, COLS, 1}, "none may be 0"},
    {{0, 0, 0, 0, 0, 1}, "none may be 0"},
    {{TWO_TO(20), ROWS, COLS, ELEMS, COLS, 1}, "the batch is below 2^20"},
    {{UINT64_MAX, ROWS, COLS, ELEMS, COLS, 1}, "the batch is below 2^20"},
    {{1, ROWS, COLS - 1, ELEMS, COLS, 1}, "1 matrices of 24 x 39, but it has 960 elements"},
    {{2, ROWS, COLS, ELEMS, COLS, 1}, "2 matrices of 24 x 40, but it has 960 elements"},
    {{1, TWO_TO(32), TWO_TO(32), 0, COLS, 1}, "but it has 960 elements"}, /* the product is 2^64 */
    {{4, TWO_TO(62), ELEMS, 0, COLS, 1}, "but it has 960 elements"},      /* and 2^64 times 960 */
    {{1, ROWS, COLS, 0, COLS + 1, 1}, "its view has strides"},
    {{1, ROWS, COLS, 0, COLS, 0}, "its view has strides"},
    {{1, ROWS, COLS, 0, 0, 0}, "its view has strides"},
    {{1, ROWS, COLS, 0, COLS, 2}, "its view has strides"},
    {{1, ROWS, COLS, 0, 1, 1}, "its view has strides"},            /* overlapping */
    {{2, ROWS / 2, COLS, ELEMS, COLS, 1}, "its view has strides"}, /* with a gap */
    {{1, ROWS, COLS, 0, UINT64_MAX, 1}, "its view has strides"},
};

START_TEST(create__refuses_views_that_do_not_cover_each_element_once)
{
    creation_t creation = good_creation();

    creation.tensors[0].view = bad_views[_i].view;
    refuse_creation(&creation, the_comm, PSGD_ERR_INVALID_ARGUMENT, bad_views[_i].words);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "tensor 0 'first.weight': its view"));
}
END_TEST

START_TEST(create__refuses_flags_and_choices_out_of_range)
{
    create_refuses(bad.config.error_feedback = 2, PSGD_ERR_INVALID_ARGUMENT, "error_feedback is 2");
    create_refuses(bad.config.warm_start = -1, PSGD_ERR_INVALID_ARGUMENT, "warm_start is -1");
    create_refuses(bad.config.exact_phase_times = 7, PSGD_ERR_INVALID_ARGUMENT, "exact_phase_times is 7");
    create_refuses(bad.config.gradients_are_finite = 2, PSGD_ERR_INVALID_ARGUMENT, "gradients_are_finite is 2");
    create_refuses(bad.config.flatten = 2, PSGD_ERR_INVALID_ARGUMENT, "flatten is 2");
    create_refuses(bad.config.orthogonalize_shorter = -1, PSGD_ERR_INVALID_ARGUMENT, "orthogonalize_shorter is -1");
    create_refuses(bad.config.engine = (psgd_engine_t)3, PSGD_ERR_UNSUPPORTED, "engine is 3");
    create_refuses(bad.config.engine = (psgd_engine_t)-1, PSGD_ERR_UNSUPPORTED, "engine is -1");
    create_refuses(bad.config.staging = (psgd_staging_t)4, PSGD_ERR_INVALID_ARGUMENT, "staging is 4");
    create_refuses(bad.config.staging = (psgd_staging_t)-1, PSGD_ERR_INVALID_ARGUMENT, "staging is -1");
    create_refuses(bad.config.sharing = (psgd_sharing_t)3, PSGD_ERR_INVALID_ARGUMENT, "sharing is 3");
    create_refuses(bad.config.sharing = (psgd_sharing_t)-1, PSGD_ERR_INVALID_ARGUMENT, "sharing is -1");
    create_refuses(bad.config.wire = (psgd_dtype_t)3, PSGD_ERR_UNSUPPORTED, "config.wire is 3");
    create_refuses(bad.config.wire = (psgd_dtype_t)-1, PSGD_ERR_UNSUPPORTED, "config.wire is -1");
    create_refuses(bad.config.error_dtype = PSGD_F16, PSGD_ERR_UNSUPPORTED, "config.error_dtype is 1");
    create_refuses(bad.config.error_dtype = (psgd_dtype_t)-1, PSGD_ERR_UNSUPPORTED, "config.error_dtype is -1");
    create_refuses(bad.config.log_level = (psgd_log_level_t)5, PSGD_ERR_INVALID_ARGUMENT, "log_level is 5");
    create_refuses(bad.config.log_level = (psgd_log_level_t)-1, PSGD_ERR_INVALID_ARGUMENT, "log_level is -1");
}
END_TEST

START_TEST(create__refuses_numbers_out_of_range)
{
    create_refuses(bad.config.min_compression_rate = -1.0, PSGD_ERR_INVALID_ARGUMENT, "min_compression_rate is -1");
    create_refuses(bad.config.min_compression_rate = (double)NAN, PSGD_ERR_INVALID_ARGUMENT, "min_compression_rate is");
    create_refuses(bad.config.min_compression_rate = (double)INFINITY, PSGD_ERR_INVALID_ARGUMENT,
                   "min_compression_rate is inf");
    create_refuses(bad.config.deadline_seconds = -0.5, PSGD_ERR_INVALID_ARGUMENT, "deadline_seconds is -0.5");
    create_refuses(bad.config.deadline_seconds = (double)NAN, PSGD_ERR_INVALID_ARGUMENT, "deadline_seconds is");
    create_refuses(bad.config.deadline_seconds = (double)INFINITY, PSGD_ERR_INVALID_ARGUMENT,
                   "deadline_seconds is inf");
    create_refuses(bad.config.warn_seconds = -1.0, PSGD_ERR_INVALID_ARGUMENT, "warn_seconds is -1");
    create_refuses(bad.config.warn_seconds = (double)NAN, PSGD_ERR_INVALID_ARGUMENT, "warn_seconds is");
    create_refuses(bad.config.warn_seconds = -(double)INFINITY, PSGD_ERR_INVALID_ARGUMENT, "warn_seconds is -inf");
    create_refuses(bad.config.max_norm = -1.0, PSGD_ERR_INVALID_ARGUMENT, "max_norm is -1");
    create_refuses(bad.config.max_norm = 1e-13, PSGD_ERR_INVALID_ARGUMENT, "max_norm is 1e-13");
    create_refuses(bad.config.max_norm = (double)NAN, PSGD_ERR_INVALID_ARGUMENT, "max_norm is");
    create_refuses(bad.config.max_norm = -(double)INFINITY, PSGD_ERR_INVALID_ARGUMENT, "max_norm is -inf");
    create_refuses(bad.config.half_iterations = PSGD_MAX_HALF_ITERATIONS + 1, PSGD_ERR_INVALID_ARGUMENT,
                   "half_iterations is 17");
    create_refuses(bad.config.half_iterations = UINT32_MAX, PSGD_ERR_INVALID_ARGUMENT, "half_iterations is 4294967295");
    create_refuses((bad.config.half_iterations = 16, bad.tensors[0].rank = 65,
                    bad.tensors[0].dims[0] = bad.tensors[0].dims[1] = 400),
                   PSGD_ERR_INVALID_ARGUMENT, "'first.weight': rank 65 times config.half_iterations 16");
    create_refuses(bad.config.byte_budget = 1, PSGD_ERR_INVALID_ARGUMENT,
                   "byte_budget is 1, but a step sends at least");
    create_refuses(bad.config.byte_budget = 4 * (ROWS + ROWS + COLS) - 1, PSGD_ERR_INVALID_ARGUMENT,
                   "byte_budget is 351, but a step sends at least 352 bytes");
}
END_TEST

START_TEST(create__refuses_profiles_that_it_did_not_write)
{
    create_refuses(bad.config.engine_profile = "nonsense", PSGD_ERR_INVALID_ARGUMENT,
                   "engine_profile, line 1: 'nonsense'");
    create_refuses(bad.config.engine_profile = "\n", PSGD_ERR_INVALID_ARGUMENT, "engine_profile, line 1: ''");
    create_refuses(bad.config.engine_profile = "psgd-profile 99\n", PSGD_ERR_INVALID_ARGUMENT,
                   "engine_profile, line 1");
    create_refuses(bad.config.engine_profile = "psgd-profile 1\n24 40 4 auto\n", PSGD_ERR_INVALID_ARGUMENT,
                   "engine_profile, line 2: '24 40 4 auto'");
    create_refuses(bad.config.engine_profile = "psgd-profile 1\n24 40 -4 fused\n", PSGD_ERR_INVALID_ARGUMENT,
                   "engine_profile, line 2: '24 40 -4 fused'");
    create_refuses(bad.config.engine_profile = "psgd-profile 1\n24 40 4\n", PSGD_ERR_INVALID_ARGUMENT,
                   "engine_profile, line 2: '24 40 4'");
}
END_TEST

START_TEST(create__refuses_structs_that_were_not_initialized)
{
    create_refuses(memset(&bad.config, 0, sizeof(bad.config)), PSGD_ERR_INVALID_ARGUMENT,
                   "config has struct_size 0; initialize it with PSGD_CONFIG_INIT");
    create_refuses(memset(&bad.config, 0xa5, sizeof(bad.config)), PSGD_ERR_INVALID_ARGUMENT, "PSGD_CONFIG_INIT");
    create_refuses(bad.config.struct_size -= 1, PSGD_ERR_INVALID_ARGUMENT, "PSGD_CONFIG_INIT");
    create_refuses(bad.config.struct_size += MOST_LATER_BYTES + 1, PSGD_ERR_INVALID_ARGUMENT, "PSGD_CONFIG_INIT");
    create_refuses(bad.tensors[0].struct_size = 0, PSGD_ERR_INVALID_ARGUMENT, "tensor 0: a tensor has struct_size 0");
    create_refuses(bad.tensors[1].struct_size = 1, PSGD_ERR_INVALID_ARGUMENT, "tensor 1: a tensor has struct_size 1");
    create_refuses(memset(&bad.tensors[0], 0xa5, sizeof(bad.tensors[0])), PSGD_ERR_INVALID_ARGUMENT,
                   "PSGD_TENSOR_INIT");
    create_refuses(bad.tensors[1].struct_size += 8, PSGD_ERR_INVALID_ARGUMENT,
                   "tensor 1: the tensors have different struct_size");
}
END_TEST

/* Structs as a later release might know them. */
typedef struct later_config {
    psgd_config_t known;
    unsigned char unknown[LATER_BYTES];
} later_config_t;

typedef struct later_tensor {
    psgd_tensor_t known;
    unsigned char unknown[LATER_BYTES];
} later_tensor_t;

START_TEST(create__refuses_options_of_a_later_release)
{
    creation_t      creation   = good_creation();
    later_config_t  config     = {creation.config, {0}};
    later_tensor_t  tensors[2] = {{creation.tensors[0], {0}}, {creation.tensors[1], {0}}};
    psgd_reducer_t *reducer    = NULL;

    config.known.struct_size     = sizeof(config);
    tensors[0].known.struct_size = tensors[1].known.struct_size = sizeof(tensors[0]);
    config.unknown[LATER_BYTES - 1]                             = 1;
    assert_refused(psgd_reducer_create(creation.context, creation.device, creation.queue, &tensors[0].known, 2,
                                       &config.known, the_comm, &reducer),
                   PSGD_ERR_UNSUPPORTED, "config has struct_size");
    config.unknown[LATER_BYTES - 1] = 0;
    tensors[1].unknown[0]           = 1;
    assert_refused(psgd_reducer_create(creation.context, creation.device, creation.queue, &tensors[0].known, 2,
                                       &config.known, the_comm, &reducer),
                   PSGD_ERR_UNSUPPORTED, "tensor 1: a tensor has struct_size");
    ck_assert_ptr_null(reducer);
    tensors[1].unknown[0] = 0; /* what it does not know is off */
    assert_ok(psgd_reducer_create(creation.context, creation.device, creation.queue, &tensors[0].known, 2,
                                  &config.known, the_comm, &reducer));
    psgd_reducer_destroy(reducer);
}
END_TEST

START_TEST(create__refuses_handles_that_do_not_belong_together)
{
    test_device_t other;

    assert_ok(test_device_open_apart(&other));
    create_refuses(bad.queue = other.queue, PSGD_ERR_INVALID_ARGUMENT, "queue belongs to another context");
    create_refuses(bad.context = other.context, PSGD_ERR_INVALID_ARGUMENT, "queue belongs to another context");
    create_refuses(bad.context = NULL, PSGD_ERR_INVALID_ARGUMENT, "a queue was given without its context");
    create_refuses(bad.device = NULL, PSGD_ERR_INVALID_ARGUMENT, "device is NULL, but context or queue is given");
    create_refuses((bad.device = NULL, bad.queue = NULL), PSGD_ERR_INVALID_ARGUMENT, "device is NULL, but context");
    create_refuses((bad.device = NULL, bad.context = NULL), PSGD_ERR_INVALID_ARGUMENT, "device is NULL, but context");
    test_device_close(&other);
}
END_TEST

/* A device that is a part of worker 0's; false where the driver does not divide devices. */
static bool open_part_of_device(cl_device_id *part_p)
{
    const cl_device_partition_property by_one[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id                       parts[64];
    cl_uint                            count = 0;

    if ((clCreateSubDevices(workers_device(0)->id, by_one, 64, parts, &count) != CL_SUCCESS) || (count == 0)) {
        return false;
    }
    for (cl_uint i = 1; i < count; ++i) {
        clReleaseDevice(parts[i]);
    }
    *part_p = parts[0];
    return true;
}

START_TEST(create__refuses_a_device_of_another_context_and_a_queue_of_another_device)
{
    cl_device_id     devices[2] = {workers_device(0)->id, NULL};
    cl_context       both;
    cl_command_queue queue;
    cl_int           result;

    if (!open_part_of_device(&devices[1])) {
        return;
    }
    create_refuses(bad.device = devices[1], PSGD_ERR_INVALID_ARGUMENT, "does not belong to the context");
    both = clCreateContext(NULL, 2, devices, NULL, NULL, &result);
    assert_ok(test_cl_check(result, "clCreateContext"));
    queue = clCreateCommandQueue(both, devices[1], 0, &result);
    assert_ok(test_cl_check(result, "clCreateCommandQueue"));
    create_refuses((bad.context = both, bad.queue = queue), PSGD_ERR_INVALID_ARGUMENT,
                   "queue belongs to another device");
    clReleaseCommandQueue(queue);
    clReleaseContext(both);
    clReleaseDevice(devices[1]);
}
END_TEST

/* One case: the library's own communicator, which `spoil_` has changed. */
#define create_refuses_comm(spoil_, status_, words_) \
    do { \
        creation_t  good = good_creation(); \
        psgd_comm_t bad  = *the_comm; \
        spoil_; \
        refuse_creation(&good, &bad, status_, words_); \
    } while (0)

START_TEST(create__refuses_communicators_that_are_not_whole)
{
    create_refuses_comm(bad.struct_size = 0, PSGD_ERR_INVALID_ARGUMENT, "comm has struct_size 0");
    create_refuses_comm(bad.struct_size -= 8, PSGD_ERR_INVALID_ARGUMENT, "comm has struct_size");
    create_refuses_comm(bad.struct_size += 8, PSGD_ERR_INVALID_ARGUMENT, "comm has struct_size");
    create_refuses_comm(bad.name = NULL, PSGD_ERR_INVALID_ARGUMENT, "comm lacks its name");
    create_refuses_comm(bad.begin_all_reduce = NULL, PSGD_ERR_INVALID_ARGUMENT, "comm lacks begin_all_reduce");
    create_refuses_comm(bad.test = NULL, PSGD_ERR_INVALID_ARGUMENT, "comm lacks test");
    create_refuses_comm(bad.abort = NULL, PSGD_ERR_INVALID_ARGUMENT, "comm lacks abort");
    create_refuses_comm(bad.num_workers = 0, PSGD_ERR_INVALID_ARGUMENT, "worker_index 0 of num_workers 0");
    create_refuses_comm(bad.worker_index = 1, PSGD_ERR_INVALID_ARGUMENT, "worker_index 1 of num_workers 1");
    create_refuses_comm(bad.worker_index = UINT32_MAX, PSGD_ERR_INVALID_ARGUMENT, "worker_index 4294967295");
    create_refuses_comm(bad.num_workers = 74566, PSGD_ERR_INVALID_ARGUMENT, "num_workers 74566");
}
END_TEST

START_TEST(create__refuses_16_bits_on_the_wire_where_the_communicator_lacks_what_they_need)
{
    creation_t  creation = good_creation();
    psgd_comm_t poor     = *the_comm;

    creation.config.wire  = PSGD_BF16;
    poor.begin_all_to_all = NULL;
    refuse_creation(&creation, &poor, PSGD_ERR_UNSUPPORTED, "'self' has no begin_all_to_all");
    poor                  = *the_comm;
    poor.begin_all_gather = NULL;
    refuse_creation(&creation, &poor, PSGD_ERR_UNSUPPORTED, "'self' has no begin_all_gather");
}
END_TEST

static TCase *creation_cases(void)
{
    TCase *tcase = tcase_create("creation");

    tcase_add_checked_fixture(tcase, open_the_comm, assert_the_comm_is_unharmed);
    tcase_add_test(tcase, create__refuses_missing_arguments);
    tcase_add_test(tcase, create__refuses_names_that_are_none_or_not_unique);
    tcase_add_loop_test(tcase, create__refuses_dimensions_that_cannot_be, 0, sizeof(bad_dims) / sizeof(bad_dims[0]));
    tcase_add_loop_test(tcase, create__refuses_more_than_can_be_numbered, 0, sizeof(crowds) / sizeof(crowds[0]));
    tcase_add_test(tcase, create__refuses_types_and_ranks_out_of_range);
    tcase_add_loop_test(tcase, create__refuses_views_that_do_not_cover_each_element_once, 0,
                        sizeof(bad_views) / sizeof(bad_views[0]));
    tcase_add_test(tcase, create__refuses_flags_and_choices_out_of_range);
    tcase_add_test(tcase, create__refuses_numbers_out_of_range);
    tcase_add_test(tcase, create__refuses_profiles_that_it_did_not_write);
    tcase_add_test(tcase, create__refuses_structs_that_were_not_initialized);
    tcase_add_test(tcase, create__refuses_options_of_a_later_release);
    tcase_add_test(tcase, create__refuses_handles_that_do_not_belong_together);
    tcase_add_test(tcase, create__refuses_a_device_of_another_context_and_a_queue_of_another_device);
    tcase_add_test(tcase, create__refuses_communicators_that_are_not_whole);
    tcase_add_test(tcase, create__refuses_16_bits_on_the_wire_where_the_communicator_lacks_what_they_need);
    return tcase;
}

static TCase *other_cases(void)
{
    TCase *tcase = tcase_create("before a reducer");

    tcase_add_test(tcase, words__of_values_that_are_none);
    tcase_add_test(tcase, env__behind_the_last_variable_and_without_a_place_to_write_to);
    tcase_add_test(tcase, destroy__of_nothing_does_nothing);
    tcase_add_test(tcase, device_list__refuses_places_that_it_cannot_write_to);
    tcase_add_test(tcase, device_find__refuses_words_that_fit_no_device);
    tcase_add_test(tcase, device_find__refuses_an_environment_variable_that_fits_no_device);
    tcase_add_test(tcase, selftest__refuses_a_device_or_a_place_that_is_none);
    tcase_add_test(tcase, comms__refuse_numbers_of_workers_that_cannot_be);
    tcase_add_test(tcase, comm_fail__takes_sentences_of_any_length_and_none);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("bad input before there is a reducer");
    int    result;

    suite_add_tcase(suite, other_cases());
    suite_add_tcase(suite, creation_cases());
    result = bad_input_run(suite, 155);
    workers_close();
    return result;
}
