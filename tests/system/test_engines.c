/* Which engine a reducer chooses, by name, by measurement and by a profile, and what memory the fused one takes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

static const double REFERENCE_BOUND = 1e-5;

static psgd_tensor_t model[JOB_MODEL_TENSORS];

/* What it sends at creation: the plans, the last vote, and between them the times of the engines, where it measures. */
enum { MESSAGES_WITHOUT_MEASURING = 2, MESSAGES_WITH_MEASURING = 3 };

/* --- a communicator that counts, and that may claim other times --------------------------------------------------- */

typedef struct counting_comm {
    psgd_comm_t        table;
    const psgd_comm_t *inner;
    uint32_t           num_all_reduces;
    const float       *claimed_ms; /* fused, CLBlast: of one shape, in place of what was measured; NULL: none */
} counting_comm_t;

static psgd_status_t counting_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    counting_comm_t *comm = self;

    comm->num_all_reduces++;
    if ((comm->claimed_ms != NULL) && (comm->num_all_reduces == 2)) {
        data[count - 2] = comm->claimed_ms[0];
        data[count - 1] = comm->claimed_ms[1];
    }
    return comm->inner->begin_all_reduce(comm->inner->self, data, count, request_p);
}

static psgd_status_t counting_test(void *self, psgd_request_t *request, int *done_p)
{
    counting_comm_t *comm = self;

    return comm->inner->test(comm->inner->self, request, done_p);
}

static void counting_abort(void *self)
{
    counting_comm_t *comm = self;

    comm->inner->abort(comm->inner->self);
}

static counting_comm_t count_messages(const psgd_comm_t *inner)
{
    counting_comm_t comm;

    memset(&comm, 0, sizeof(comm));
    comm.table.struct_size      = sizeof(comm.table);
    comm.table.name             = "counting";
    comm.table.num_workers      = inner->num_workers;
    comm.table.worker_index     = inner->worker_index;
    comm.table.begin_all_reduce = counting_all_reduce;
    comm.table.test             = counting_test;
    comm.table.abort            = counting_abort;
    comm.inner                  = inner;
    return comm;
}

/* --- a reducer of one worker -------------------------------------------------------------------------------------- */

typedef struct alone {
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
    uint32_t        num_messages; /* of creation */
} alone_t;

/* Whatever creation ends with. */
static psgd_status_t try_alone(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                               alone_t *alone)
{
    const test_device_t *device = workers_device(0);
    counting_comm_t      comm;
    psgd_status_t        status;

    memset(alone, 0, sizeof(*alone));
    assert_ok(psgd_comm_self_create(&alone->comm));
    comm            = count_messages(alone->comm);
    comm.table.self = &comm;
    status = psgd_reducer_create(device->context, device->id, device->queue, tensors, num_tensors, config, &comm.table,
                                 &alone->reducer);
    alone->num_messages = comm.num_all_reduces;
    return status;
}

/* It makes no step: its communicator is gone. */
static alone_t create_alone(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config)
{
    alone_t alone;

    assert_ok(try_alone(tensors, num_tensors, config, &alone));
    return alone;
}

static void destroy_alone(alone_t *alone)
{
    psgd_reducer_destroy(alone->reducer);
    psgd_comm_destroy(alone->comm);
}

static psgd_tensor_plan_t plan_of(const psgd_reducer_t *reducer, size_t tensor)
{
    psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

    assert_ok(psgd_reducer_get_tensor_plan(reducer, tensor, &plan));
    return plan;
}

static char *profile_of(const psgd_reducer_t *reducer)
{
    size_t bytes = 0;
    char  *text;

    assert_ok(psgd_reducer_get_profile(reducer, NULL, 0, &bytes));
    text = malloc(bytes);
    ck_assert_ptr_nonnull(text);
    assert_ok(psgd_reducer_get_profile(reducer, text, bytes, &bytes));
    ck_assert_uint_eq(strlen(text) + 1, bytes);
    return text;
}

/* --- by name ------------------------------------------------------------------------------------------------------ */

START_TEST(engine__has_a_word)
{
    ck_assert_str_eq(psgd_engine_name(PSGD_ENGINE_AUTO), "auto");
    ck_assert_str_eq(psgd_engine_name(PSGD_ENGINE_CLBLAST), "clblast");
    ck_assert_str_eq(psgd_engine_name(PSGD_ENGINE_FUSED), "fused");
    ck_assert_str_eq(psgd_engine_name((psgd_engine_t)3), "unknown");
}
END_TEST

START_TEST(engine__by_name_is_that_of_every_compressed_tensor_and_measures_nothing)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone;

    config.engine         = (psgd_engine_t)_i;
    config.engine_profile = "nonsense"; /* read by auto alone */
    alone                 = create_alone(model, JOB_MODEL_TENSORS, &config);
    ck_assert_uint_eq(alone.num_messages, MESSAGES_WITHOUT_MEASURING);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        psgd_tensor_plan_t plan = plan_of(alone.reducer, t);

        ck_assert_int_eq(plan.engine, plan.rank > 0 ? (psgd_engine_t)_i : PSGD_ENGINE_AUTO);
    }
    destroy_alone(&alone);
}
END_TEST

START_TEST(engine__auto_chooses_one_for_every_compressed_tensor)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone  = create_alone(model, JOB_MODEL_TENSORS, &config);

    ck_assert_uint_eq(alone.num_messages, MESSAGES_WITH_MEASURING);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        psgd_tensor_plan_t plan = plan_of(alone.reducer, t);

        ck_assert((plan.engine == PSGD_ENGINE_AUTO) == (plan.rank == 0));
    }
    ck_assert_int_eq(plan_of(alone.reducer, 0).engine, plan_of(alone.reducer, 3).engine); /* one shape */
    destroy_alone(&alone);
}
END_TEST

/* Nothing to choose for where nothing is compressed. */
START_TEST(engine__auto_measures_nothing_for_vectors)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone  = create_alone(&model[1], 1, &config);
    char         *text   = profile_of(alone.reducer);

    ck_assert_uint_eq(alone.num_messages, MESSAGES_WITHOUT_MEASURING);
    ck_assert_str_eq(text, "psgd-profile 1\n");
    free(text);
    destroy_alone(&alone);
}
END_TEST

/* --- by measurement ----------------------------------------------------------------------------------------------- */

typedef struct measurement {
    const float  *claimed_ms[WORKERS_MAX]; /* by worker; NULL: what it measures */
    uint64_t      rows, cols;
    psgd_engine_t engines[WORKERS_MAX];
    char          profiles[WORKERS_MAX][256];
} measurement_t;

static psgd_status_t choose_by_measurement(worker_t *worker)
{
    measurement_t     *measurement = worker->user;
    psgd_tensor_t      tensor      = job_tensor("weight", measurement->rows, measurement->cols);
    psgd_tensor_plan_t plan        = PSGD_TENSOR_PLAN_INIT;
    psgd_config_t      config      = PSGD_CONFIG_INIT;
    psgd_reducer_t    *reducer     = NULL;
    counting_comm_t    comm        = count_messages(worker->comm);
    size_t             bytes;

    comm.table.self         = &comm;
    comm.claimed_ms         = measurement->claimed_ms[worker->index];
    config.deadline_seconds = 240.0;
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, &comm.table, &reducer));
    worker_expects(comm.num_all_reduces == MESSAGES_WITH_MEASURING, "%u messages", comm.num_all_reduces);
    worker_needs(psgd_reducer_get_tensor_plan(reducer, 0, &plan));
    worker_needs(psgd_reducer_get_profile(reducer, measurement->profiles[worker->index],
                                          sizeof(measurement->profiles[0]), &bytes));
    measurement->engines[worker->index] = plan.engine;
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

/* Each of two workers alone would choose another engine; the sum decides, on both alike. */
START_TEST(auto__workers_that_measure_differently_choose_alike)
{
    static const float  NEARLY_ALIKE[] = {1.0f, 2.0f}, SLOW_FUSED[] = {100.0f, 3.0f}, SLOW_CLBLAST[] = {1.0f, 500.0f};
    const float *const  others[]   = {SLOW_FUSED, SLOW_CLBLAST};
    const psgd_engine_t expected[] = {PSGD_ENGINE_CLBLAST, PSGD_ENGINE_FUSED};

    for (int i = 0; i < 2; ++i) {
        measurement_t measurement;

        memset(&measurement, 0, sizeof(measurement));
        measurement.rows          = 40;
        measurement.cols          = 56;
        measurement.claimed_ms[0] = i == 0 ? NEARLY_ALIKE : SLOW_FUSED;
        measurement.claimed_ms[1] = others[i];
        workers_run(2, choose_by_measurement, &measurement);
        for (int w = 0; w < 2; ++w) {
            ck_assert_int_eq(measurement.engines[w], expected[i]);
        }
        ck_assert_str_eq(measurement.profiles[0], measurement.profiles[1]);
    }
}
END_TEST

/* Large enough for both engines to be timed. */
START_TEST(auto__workers_choose_alike_from_what_they_measure)
{
    measurement_t measurement;

    memset(&measurement, 0, sizeof(measurement));
    measurement.rows = psgd_test_shapes_are_reduced() ? 300 : 1200;
    measurement.cols = 1100;
    workers_run(3, choose_by_measurement, &measurement);
    for (int w = 0; w < 3; ++w) {
        ck_assert_int_ne(measurement.engines[w], PSGD_ENGINE_AUTO);
        ck_assert_int_eq(measurement.engines[w], measurement.engines[0]);
        ck_assert_str_eq(measurement.profiles[w], measurement.profiles[0]);
    }
}
END_TEST

/* --- by profile --------------------------------------------------------------------------------------------------- */

START_TEST(profile__says_how_large_it_is)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    size_t        asked = 0, bytes = 0;
    char          text[512];
    alone_t       alone;

    config.engine = PSGD_ENGINE_FUSED;
    alone         = create_alone(model, JOB_MODEL_TENSORS, &config);
    assert_ok(psgd_reducer_get_profile(alone.reducer, NULL, 0, &asked));
    ck_assert_uint_gt(asked, 1);
    ck_assert_uint_le(asked, sizeof(text));

    memset(text, 'x', sizeof(text));
    assert_fails(psgd_reducer_get_profile(alone.reducer, text, asked - 1, &bytes), PSGD_ERR_INVALID_ARGUMENT,
                 "capacity is");
    ck_assert_uint_eq(bytes, asked);
    ck_assert_int_eq(text[asked - 1], 'x');
    bytes = 0;
    assert_fails(psgd_reducer_get_profile(alone.reducer, text, 1, &bytes), PSGD_ERR_INVALID_ARGUMENT, "capacity is 1");
    ck_assert_uint_eq(bytes, asked);
    ck_assert_int_eq(text[0], 'x'); /* all of it is written, or nothing */

    bytes = 0;
    assert_ok(psgd_reducer_get_profile(alone.reducer, text, asked, &bytes));
    ck_assert_uint_eq(bytes, asked);
    ck_assert_uint_eq(strlen(text) + 1, asked);
    ck_assert_int_eq(text[asked], 'x');

    assert_fails(psgd_reducer_get_profile(NULL, text, asked, &bytes), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_get_profile(alone.reducer, NULL, asked, &bytes), PSGD_ERR_INVALID_ARGUMENT,
                 "text is NULL");
    assert_fails(psgd_reducer_get_profile(alone.reducer, text, asked, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "bytes_p is NULL");
    destroy_alone(&alone);
}
END_TEST

/* The engine that a profile gives to the shape of a plan, and how many lines do. */
static int find_shape(const char *text, const psgd_tensor_plan_t *plan, char engine[16])
{
    int count = 0;

    for (const char *line = strchr(text, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        uint64_t rows, cols;
        uint32_t rank;
        char     word[16];

        ck_assert_int_eq(sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu32 " %15s", &rows, &cols, &rank, word), 4);
        if ((rows == plan->rows) && (cols == plan->cols) && (rank == plan->rank)) {
            memcpy(engine, word, sizeof(word));
            count++;
        }
    }
    return count;
}

START_TEST(profile__of_a_measurement_spares_the_next_reducer_from_measuring)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       first  = create_alone(model, JOB_MODEL_TENSORS, &config), second;
    char         *text   = profile_of(first.reducer), *again;

    ck_assert_int_eq(strncmp(text, "psgd-profile 1\n", 15), 0);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        psgd_tensor_plan_t plan = plan_of(first.reducer, t);
        char               engine[16];

        ck_assert_int_eq(find_shape(text, &plan, engine), plan.rank > 0 ? 1 : 0);
        if (plan.rank > 0) {
            ck_assert_str_eq(engine, psgd_engine_name(plan.engine));
        }
    }

    config.engine_profile = text;
    second                = create_alone(model, JOB_MODEL_TENSORS, &config);
    ck_assert_uint_eq(second.num_messages, MESSAGES_WITHOUT_MEASURING);
    memset(text, 'x', 14); /* read during creation only */
    again = profile_of(second.reducer);
    memcpy(text, "psgd-profile 1", 14);
    ck_assert_str_eq(again, text);
    free(again);
    free(text);
    destroy_alone(&first);
    destroy_alone(&second);
}
END_TEST

/* Every shape of the model, in another order than its tensors, beside shapes that it does not have. */
static const char MIXED_PROFILE[] = "psgd-profile 1\n"
                                    "17 203 2 clblast\n"
                                    "28869 650 4 clblast\n"
                                    "40 56 4 clblast\n"
                                    "40 56 8 fused\n"
                                    "16 72 4 fused\n"
                                    "\n"
                                    "151 19 4 fused"; /* the last line may lack its end */

START_TEST(profile__decides_the_engine_of_each_tensor)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone;

    config.engine_profile = MIXED_PROFILE;
    alone                 = create_alone(model, JOB_MODEL_TENSORS, &config);
    ck_assert_uint_eq(alone.num_messages, MESSAGES_WITHOUT_MEASURING);
    ck_assert_int_eq(plan_of(alone.reducer, 0).engine, PSGD_ENGINE_CLBLAST); /* fc1.weight */
    ck_assert_int_eq(plan_of(alone.reducer, 1).engine, PSGD_ENGINE_AUTO);    /* fc1.bias */
    ck_assert_int_eq(plan_of(alone.reducer, 2).engine, PSGD_ENGINE_FUSED);   /* conv.weight */
    ck_assert_int_eq(plan_of(alone.reducer, 3).engine, PSGD_ENGINE_CLBLAST); /* fc2.weight, the shape of fc1.weight */
    ck_assert_int_eq(plan_of(alone.reducer, 4).engine, PSGD_ENGINE_FUSED);   /* tall.weight */
    ck_assert_int_eq(plan_of(alone.reducer, 7).engine, PSGD_ENGINE_CLBLAST); /* wide.weight */
    destroy_alone(&alone);
}
END_TEST

START_TEST(profile__that_lacks_a_shape_leaves_it_to_measurement)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone;

    config.engine_profile = "psgd-profile 1\n40 56 4 clblast\n9 9 4 fused\n";
    alone                 = create_alone(model, JOB_MODEL_TENSORS, &config);
    ck_assert_uint_eq(alone.num_messages, MESSAGES_WITH_MEASURING);
    ck_assert_int_eq(plan_of(alone.reducer, 0).engine, PSGD_ENGINE_CLBLAST);
    ck_assert_int_ne(plan_of(alone.reducer, 4).engine, PSGD_ENGINE_AUTO);
    destroy_alone(&alone);
}
END_TEST

/* Both engines in one reducer, in each form: the reference's steps, and the same bits on all workers. */
START_TEST(profile__with_both_engines_gives_the_steps_of_the_reference)
{
    job_t        job = job_describe(model, JOB_MODEL_TENSORS);
    job_record_t records[WORKERS_MAX];

    job.num_workers                 = 2;
    job.q_stream                    = 7;
    job.config.engine_profile       = MIXED_PROFILE;
    job.config.gradients_are_finite = _i;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_agrees_with_reference(&job, records, REFERENCE_BOUND);
    job_records_free(&job, records);
}
END_TEST

static const struct {
    const char *text;
    const char *words;
} malformed[] = {
    {"psgd-profile 2\n40 56 4 fused\n", "line 1: 'psgd-profile 2'"},
    {"psgd-profile 1\n-40 56 4 fused\n", "line 2"},
    {"psgd-profile 1\n40 56 4294967300 fused\n", "line 2"},
    {"psgd-profile 1\n18446744073709551656 56 4 fused\n", "line 2"}, /* 2^64 + 40 */
    {"40 56 4 fused\n", "line 1: '40 56 4 fused'"},
    {"psgd-profile 1 \n", "line 1:"},
    {"\npsgd-profile 1\n", "line 1: ''"},
    {"psgd-profile 1\n40 56 4\n", "line 2: '40 56 4'"},
    {"psgd-profile 1\n40 56 4 fused\n40\n", "line 3: '40'"},
    {"psgd-profile 1\n40 56 4 fused\n\n16 72 4 auto\n", "line 4: '16 72 4 auto'"},
    {"psgd-profile 1\n40 56 4 magic\n", "line 2: '40 56 4 magic'"},
    {"psgd-profile 1\n40 56 4 fused again\n", "line 2: '40 56 4 fused again'"},
    {"psgd-profile 1\n40 56 r fused\n", "line 2: '40 56 r fused'"},
    {"psgd-profile 1\n40 56 4 FUSED\n", "line 2"},
    {"psgd-profile 1\n40 56 4 fusedfusedfusedfusedfusedfusedfusedfused\n", "line 2"},
    {"psgd-profile 1\n40 56 4 "
     "                                                                                                                 "
     "   "
     "                                                                                                   fused\n",
     "line 2: '40 56 4"},
};

enum { NUM_MALFORMED = sizeof(malformed) / sizeof(malformed[0]) };

START_TEST(profile__that_is_malformed_is_refused_with_its_line)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    alone_t       alone, good;

    config.engine_profile = malformed[_i].text;
    assert_fails(try_alone(model, JOB_MODEL_TENSORS, &config, &alone), PSGD_ERR_INVALID_ARGUMENT, malformed[_i].words);
    ck_assert_ptr_null(alone.reducer);
    ck_assert_uint_eq(alone.num_messages, 1); /* the others hear of it */
    psgd_comm_destroy(alone.comm);

    config.engine_profile = MIXED_PROFILE;
    good                  = create_alone(model, JOB_MODEL_TENSORS, &config);
    destroy_alone(&good);
}
END_TEST

/* --- device memory ------------------------------------------------------------------------------------------------ */

/* 7 x 7 and 3 x 3 kernels, shortcuts and the classifier of ResNet-18, rows and columns of their matrices. */
static const uint64_t RESNET18[][2] = {
    {64, 147},   {64, 576},   {64, 576},   {64, 576},  {64, 576},   {128, 576},  {128, 1152}, {128, 64},   {128, 1152},
    {128, 1152}, {256, 1152}, {256, 2304}, {256, 128}, {256, 2304}, {256, 2304}, {512, 2304}, {512, 4608}, {512, 256},
    {512, 4608}, {512, 4608}, {1000, 512}, {1000, 0},  {64, 0},     {128, 0},    {256, 0},    {512, 0},
};
static const uint64_t LSTM[][2] = {{28869, 650}, {2600, 650}, {2600, 650}, {2600, 650}, {2600, 650},
                                   {2600, 650},  {2600, 650}, {28869, 0},  {2600, 0},   {2600, 0}};

enum {
    NUM_RESNET18 = sizeof(RESNET18) / sizeof(RESNET18[0]),
    NUM_LSTM     = sizeof(LSTM) / sizeof(LSTM[0]),
    MAX_TENSORS  = 32
};

/* In bytes: 4 (N + 6 (rows + cols) r + uncompressed) + max(2 MiB, 2 % of 4 N). N: elements of compressed matrices. */
static uint64_t most_device_bytes(const psgd_reducer_t *reducer, size_t num_tensors)
{
    uint64_t matrix_elems = 0, factor_elems = 0, small_elems = 0, tables;

    for (size_t t = 0; t < num_tensors; ++t) {
        psgd_tensor_plan_t plan = plan_of(reducer, t);

        matrix_elems += plan.rank > 0 ? plan.elems : 0;
        factor_elems += plan.rank > 0 ? plan.sent_elems : 0;
        small_elems += plan.rank > 0 ? 0 : plan.elems;
    }
    tables = 4 * matrix_elems / 50;
    tables = tables > 2 * 1024 * 1024 ? tables : 2 * 1024 * 1024;
    return 4 * (matrix_elems + 6 * factor_elems + small_elems) + tables;
}

static void assert_memory_is_bounded(const char *name, const uint64_t (*shapes)[2], size_t num_shapes, uint32_t rank,
                                     int gradients_are_finite)
{
    static char   names[MAX_TENSORS][32];
    psgd_tensor_t tensors[MAX_TENSORS];
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_stats_t  stats  = PSGD_STATS_INIT;
    uint64_t      most;
    alone_t       alone;

    memset(tensors, 0, sizeof(tensors));
    for (size_t t = 0; t < num_shapes; ++t) {
        snprintf(names[t], sizeof(names[t]), "tensor%zu", t);
        tensors[t] = job_tensor(names[t], shapes[t][0], shapes[t][1]);
    }
    config.rank                 = rank;
    config.engine               = PSGD_ENGINE_FUSED;
    config.gradients_are_finite = gradients_are_finite;
    alone                       = create_alone(tensors, num_shapes, &config);
    assert_ok(psgd_reducer_get_stats(alone.reducer, &stats));
    most = most_device_bytes(alone.reducer, num_shapes);
    destroy_alone(&alone);
    printf("%s, r = %u, finite %d: %" PRIu64 " bytes of device memory, %" PRIu64 " allowed\n", name, rank,
           gradients_are_finite, stats.device_bytes, most);
    ck_assert_msg(stats.device_bytes <= most, "%s, r = %u, finite %d: %" PRIu64 " bytes, more than %" PRIu64, name,
                  rank, gradients_are_finite, stats.device_bytes, most);
}

START_TEST(fused__device_memory_is_what_the_header_says)
{
    uint32_t rank = _i % 2 == 0 ? 4 : 32;

    assert_memory_is_bounded("resnet18", RESNET18, NUM_RESNET18, rank, _i / 2);
    if (!psgd_test_shapes_are_reduced()) {
        assert_memory_is_bounded("lstm", LSTM, NUM_LSTM, rank, _i / 2);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engines");
    TCase *tcase = tcase_create("engines");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, engine__has_a_word);
    tcase_add_loop_test(tcase, engine__by_name_is_that_of_every_compressed_tensor_and_measures_nothing,
                        PSGD_ENGINE_CLBLAST, PSGD_ENGINE_FUSED + 1);
    tcase_add_test(tcase, engine__auto_chooses_one_for_every_compressed_tensor);
    tcase_add_test(tcase, engine__auto_measures_nothing_for_vectors);
    tcase_add_test(tcase, auto__workers_that_measure_differently_choose_alike);
    tcase_add_test(tcase, auto__workers_choose_alike_from_what_they_measure);
    tcase_add_test(tcase, profile__says_how_large_it_is);
    tcase_add_test(tcase, profile__of_a_measurement_spares_the_next_reducer_from_measuring);
    tcase_add_test(tcase, profile__decides_the_engine_of_each_tensor);
    tcase_add_test(tcase, profile__that_lacks_a_shape_leaves_it_to_measurement);
    tcase_add_loop_test(tcase, profile__with_both_engines_gives_the_steps_of_the_reference, 0, 2);
    tcase_add_loop_test(tcase, profile__that_is_malformed_is_refused_with_its_line, 0, NUM_MALFORMED);
    tcase_add_loop_test(tcase, fused__device_memory_is_what_the_header_says, 0, 4);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
