/* Wrong states and checkpoints, through the public API. Each ends with its status, a sentence that names the cause, and no effect: a
 * state holds what it held, a reducer goes on with the bits of one that was never called wrongly. */
#define _XOPEN_SOURCE 700 /* mkdtemp */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "system/bad_input.h"

/* ---- states -------------------------------------------------------------------------------------------------------- */

static psgd_state_t *state;

/* 'a' has a factor of 3 x 2 and an error of 4 elements, and there is a step: what is refused changes none of it. */
static const float FACTOR[6] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
static const float ERROR[4]  = {-1.0f, -2.0f, -3.0f, -4.0f};

static void fill_state(void)
{
    assert_ok(psgd_state_create(&state));
    assert_ok(psgd_state_set_factor(state, "a", 3, 2, FACTOR));
    assert_ok(psgd_state_set_error(state, "a", 4, ERROR));
    assert_ok(psgd_state_set_step(state, 5, 6));
    assert_ok(psgd_state_set_half_iterations(state, 7));
}

static void assert_state_is_as_filled(void)
{
    const float *values = NULL;
    uint64_t     step = 0, seed = 0, number = 0;
    uint32_t     rank = 0;

    assert_ok(psgd_state_get_factor(state, "a", &number, &rank, &values));
    ck_assert(number == 3 && rank == 2);
    ck_assert_mem_eq(values, FACTOR, sizeof(FACTOR));
    assert_ok(psgd_state_get_error(state, "a", &number, &values));
    ck_assert_uint_eq(number, 4);
    ck_assert_mem_eq(values, ERROR, sizeof(ERROR));
    assert_ok(psgd_state_get_step(state, &step, &seed));
    ck_assert(step == 5 && seed == 6);
    assert_ok(psgd_state_get_half_iterations(state, &number));
    ck_assert_uint_eq(number, 7);
    psgd_state_destroy(state);
}

START_TEST(state__refuses_missing_arguments)
{
    const float *pointer = NULL;
    uint64_t     number  = 77;
    uint32_t     rank    = 77;

    assert_refused(psgd_state_create(NULL), PSGD_ERR_INVALID_ARGUMENT, "state_p is NULL");
    assert_refused(psgd_state_set_step(NULL, 0, 0), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_refused(psgd_state_set_half_iterations(NULL, 0), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_refused(psgd_state_set_factor(NULL, "a", 2, 1, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_refused(psgd_state_set_factor(state, NULL, 2, 1, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "name is NULL");
    assert_refused(psgd_state_set_factor(state, "", 2, 1, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "name is empty");
    assert_refused(psgd_state_set_factor(state, "a", 2, 1, NULL), PSGD_ERR_INVALID_ARGUMENT, "q is NULL");
    assert_refused(psgd_state_set_error(NULL, "a", 2, ERROR), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_refused(psgd_state_set_error(state, NULL, 2, ERROR), PSGD_ERR_INVALID_ARGUMENT, "name is NULL");
    assert_refused(psgd_state_set_error(state, "", 2, ERROR), PSGD_ERR_INVALID_ARGUMENT, "name is empty");
    assert_refused(psgd_state_set_error(state, "a", 1, NULL), PSGD_ERR_INVALID_ARGUMENT, "error is NULL");
    assert_refused_unwritten(number, psgd_state_get_step(NULL, &number, &number), PSGD_ERR_INVALID_ARGUMENT,
                             "state is NULL");
    assert_refused_unwritten(number, psgd_state_get_step(state, NULL, &number), PSGD_ERR_INVALID_ARGUMENT,
                             "step_p is NULL");
    assert_refused_unwritten(number, psgd_state_get_step(state, &number, NULL), PSGD_ERR_INVALID_ARGUMENT,
                             "seed_p is NULL");
    assert_refused_unwritten(number, psgd_state_get_half_iterations(NULL, &number), PSGD_ERR_INVALID_ARGUMENT,
                             "state is NULL");
    assert_refused(psgd_state_get_half_iterations(state, NULL), PSGD_ERR_INVALID_ARGUMENT, "half_iterations_p is NULL");
    assert_refused(psgd_state_get_factor(NULL, "a", &number, &rank, &pointer), PSGD_ERR_INVALID_ARGUMENT,
                   "state is NULL");
    assert_refused(psgd_state_get_factor(state, NULL, &number, &rank, &pointer), PSGD_ERR_INVALID_ARGUMENT,
                   "name is NULL");
    assert_refused(psgd_state_get_factor(state, "a", NULL, &rank, &pointer), PSGD_ERR_INVALID_ARGUMENT,
                   "cols_p is NULL");
    assert_refused(psgd_state_get_factor(state, "a", &number, NULL, &pointer), PSGD_ERR_INVALID_ARGUMENT,
                   "rank_p is NULL");
    assert_refused(psgd_state_get_factor(state, "a", &number, &rank, NULL), PSGD_ERR_INVALID_ARGUMENT, "q_p is NULL");
    assert_refused(psgd_state_get_error(NULL, "a", &number, &pointer), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_refused(psgd_state_get_error(state, NULL, &number, &pointer), PSGD_ERR_INVALID_ARGUMENT, "name is NULL");
    assert_refused(psgd_state_get_error(state, "a", NULL, &pointer), PSGD_ERR_INVALID_ARGUMENT, "num_elems_p is NULL");
    assert_refused(psgd_state_get_error(state, "a", &number, NULL), PSGD_ERR_INVALID_ARGUMENT, "error_p is NULL");
    ck_assert_ptr_null(pointer);
    ck_assert(number == 77 && rank == 77);
}
END_TEST

START_TEST(state__refuses_factors_and_errors_of_no_shape)
{
    assert_refused(psgd_state_set_factor(state, "a", 0, 1, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "'a' cannot be 0 x 1");
    assert_refused(psgd_state_set_factor(state, "a", 2, 0, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "'a' cannot be 2 x 0");
    assert_refused(psgd_state_set_factor(state, "a", 2, 3, FACTOR), PSGD_ERR_INVALID_ARGUMENT, "'a' cannot be 2 x 3");
    assert_refused(psgd_state_set_factor(state, "a", 2000, 1025, FACTOR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' cannot be 2000 x 1025");
    assert_refused(psgd_state_set_factor(state, "a", UINT64_C(1) << 32, 1, FACTOR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' cannot be 4294967296 x 1");
    assert_refused(psgd_state_set_factor(state, "a", UINT64_MAX, 1024, FACTOR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' cannot be 18446744073709551615 x 1024");
    assert_refused(psgd_state_set_factor(state, "a", UINT32_MAX, 1024, FACTOR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' has 4398046510080 elements");
    assert_refused(psgd_state_set_error(state, "a", 0, ERROR), PSGD_ERR_INVALID_ARGUMENT, "'a' has no elements");
    assert_refused(psgd_state_set_error(state, "a", UINT64_MAX, ERROR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' has 18446744073709551615 elements");
    assert_refused(psgd_state_set_error(state, "a", UINT64_C(1) << 62, ERROR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' has 4611686018427387904 elements"); /* of which the bytes are 2^64 */
    assert_refused(psgd_state_set_error(state, "a", UINT64_C(1) << 40, ERROR), PSGD_ERR_INVALID_ARGUMENT,
                   "'a' has 1099511627776 elements");
}
END_TEST

START_TEST(state__refuses_values_that_are_no_numbers)
{
    static const float BAD[][2] = {{1.0f, (float)NAN}, {(float)INFINITY, 1.0f}, {-(float)INFINITY, 1.0f}};

    assert_refused(psgd_state_set_factor(state, "a", 2, 1, BAD[_i]), PSGD_ERR_NONFINITE,
                   "the factor of 'a' holds NaN or Inf");
    assert_refused(psgd_state_set_error(state, "a", 2, BAD[_i]), PSGD_ERR_NONFINITE,
                   "the error of 'a' holds NaN or Inf");
}
END_TEST

START_TEST(state__tells_what_it_does_not_hold)
{
    psgd_state_t *empty   = NULL;
    const float  *pointer = NULL;
    uint64_t      number = 77, seed = 77;
    uint32_t      rank = 77;

    assert_ok(psgd_state_create(&empty));
    assert_refused_unwritten(number, psgd_state_get_step(empty, &number, &seed), PSGD_ERR_STATE, "holds no step");
    assert_refused_unwritten(number, psgd_state_get_factor(empty, "a", &number, &rank, &pointer), PSGD_ERR_STATE,
                             "no factor of 'a'");
    assert_refused_unwritten(number, psgd_state_get_error(empty, "a", &number, &pointer), PSGD_ERR_STATE,
                             "no error of 'a'");
    assert_ok(psgd_state_set_error(empty, "a", 4, ERROR));
    assert_refused_unwritten(number, psgd_state_get_factor(empty, "a", &number, &rank, &pointer), PSGD_ERR_STATE,
                             "no factor of 'a'");
    assert_ok(psgd_state_set_factor(empty, "b", 3, 2, FACTOR));
    assert_refused_unwritten(number, psgd_state_get_error(empty, "b", &number, &pointer), PSGD_ERR_STATE,
                             "no error of 'b'");
    assert_refused_unwritten(number, psgd_state_get_factor(state, "A", &number, &rank, &pointer), PSGD_ERR_STATE,
                             "no factor of 'A'");
    ck_assert(number == 77 && seed == 77 && rank == 77);
    ck_assert_ptr_null(pointer);
    psgd_state_destroy(empty);
}
END_TEST

/* ---- import and export --------------------------------------------------------------------------------------------- */

static bench_t bench;

static void open_the_bench(void)
{
    static float values[BENCH_ELEMS];

    bench = open_bench();
    good_step(&bench, 0, values);
}

static void close_the_bench(void)
{
    assert_unharmed(&bench, 1);
    close_bench(&bench);
}

START_TEST(export__refuses_missing_arguments_and_forms_that_are_none)
{
    psgd_state_t *exported = NULL;

    assert_refused_unwritten(exported, psgd_reducer_export_state(NULL, PSGD_ERROR_NONE, &exported),
                             PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_export_state(bench.reducer, PSGD_ERROR_NONE, NULL), PSGD_ERR_INVALID_ARGUMENT,
                   "state_p is NULL");
    assert_refused_unwritten(exported, psgd_reducer_export_state(bench.reducer, (psgd_error_form_t)3, &exported),
                             PSGD_ERR_INVALID_ARGUMENT, "form is 3");
    assert_refused_unwritten(exported, psgd_reducer_export_state(bench.reducer, (psgd_error_form_t)-1, &exported),
                             PSGD_ERR_INVALID_ARGUMENT, "form is -1");
}
END_TEST

START_TEST(import__refuses_missing_arguments)
{
    psgd_state_t *empty = NULL;

    assert_ok(psgd_state_create(&empty));
    assert_refused(psgd_reducer_import_state(NULL, empty), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_import_state(bench.reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    psgd_state_destroy(empty);
}
END_TEST

/* What is set in a state that fits so far, and does not fit then. */
static const struct {
    const char *name;
    uint64_t    cols; /* of a factor; 0: none */
    uint32_t    rank;
    uint64_t    num_elems; /* of an error; 0: none */
    const char *words;
} misfits[] = {
    {"third.weight", COLS, 4, 0, "a tensor 'third.weight' that this reducer does not have"},
    {"third.weight", 0, 0, ELEMS, "a tensor 'third.weight' that this reducer does not have"},
    {"First.weight", COLS, 4, 0, "a tensor 'First.weight' that this reducer does not have"},
    {"second.bias", 0, 0, ROWS, "'second.bias', which this reducer does not compress"},
    {"second.bias", ROWS, 1, 0, "'second.bias', which this reducer does not compress"},
    {PSGD_FLATTENED_NAME, COLS, 4, 0, "a tensor '(flattened)' that this reducer does not have"},
    {"first.weight", COLS, 3, 0, "factor of 'first.weight' is 40 x 3"},
    {"first.weight", COLS, 5, 0, "factor of 'first.weight' is 40 x 5"},
    {"first.weight", COLS - 1, 4, 0, "factor of 'first.weight' is 39 x 4"},
    {"first.weight", ROWS, 4, 0, "factor of 'first.weight' is 24 x 4"}, /* a P */
    {"first.weight", 0, 0, ELEMS - 1, "error of 'first.weight' has 959 elements"},
    {"first.weight", 0, 0, ELEMS + 1, "error of 'first.weight' has 961 elements"},
};

/* A state that fits. */
static psgd_state_t *fitting_state(const float values[ELEMS + 1])
{
    psgd_state_t *fitting = NULL;

    assert_ok(psgd_state_create(&fitting));
    assert_ok(psgd_state_set_factor(fitting, "first.weight", COLS, 4, values));
    assert_ok(psgd_state_set_error(fitting, "first.weight", ELEMS, values));
    assert_ok(psgd_state_set_step(fitting, 9, 0));
    return fitting;
}

START_TEST(import__refuses_all_of_a_state_of_which_a_part_does_not_fit)
{
    static float  values[ELEMS + 1];
    psgd_state_t *misfit;

    test_random_fill(values, ELEMS + 1, 77);
    misfit = fitting_state(values);
    if (misfits[_i].cols > 0) {
        assert_ok(psgd_state_set_factor(misfit, misfits[_i].name, misfits[_i].cols, misfits[_i].rank, values));
    }
    if (misfits[_i].num_elems > 0) {
        assert_ok(psgd_state_set_error(misfit, misfits[_i].name, misfits[_i].num_elems, values));
    }
    assert_refused(psgd_reducer_import_state(bench.reducer, misfit), PSGD_ERR_STATE, misfits[_i].words);
    psgd_state_destroy(misfit);
}
END_TEST

START_TEST(import__refuses_the_state_of_another_seed_or_of_half_iterations)
{
    static float  values[ELEMS + 1];
    psgd_state_t *misfit = fitting_state(values);

    assert_ok(psgd_state_set_step(misfit, 9, 1));
    assert_refused(psgd_reducer_import_state(bench.reducer, misfit), PSGD_ERR_STATE, "seed");
    assert_ok(psgd_state_set_step(misfit, 9, 0));
    assert_ok(psgd_state_set_half_iterations(misfit, 4));
    assert_refused(psgd_reducer_import_state(bench.reducer, misfit), PSGD_ERR_STATE, "full iterations");
    psgd_state_destroy(misfit);
}
END_TEST

/* What a state refused is not in it: a later import does not meet its name. */
START_TEST(import__does_not_meet_what_the_state_has_refused)
{
    const float   bad[2] = {1.0f, (float)NAN};
    psgd_state_t *empty  = NULL;

    assert_ok(psgd_state_create(&empty));
    assert_refused(psgd_state_set_factor(empty, "third.weight", 2, 1, bad), PSGD_ERR_NONFINITE, "'third.weight'");
    assert_refused(psgd_state_set_error(empty, "third.weight", 2, bad), PSGD_ERR_NONFINITE, "'third.weight'");
    assert_refused(psgd_state_set_error(empty, "third.weight", UINT64_MAX, bad), PSGD_ERR_INVALID_ARGUMENT,
                   "'third.weight'");
    assert_ok(psgd_reducer_import_state(bench.reducer, empty));
    psgd_state_destroy(empty);
}
END_TEST

START_TEST(import__refuses_an_error_memory_where_there_is_no_error_feedback)
{
    static float    values[ELEMS];
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_state_t   *misfit   = NULL;
    psgd_comm_t    *comm     = NULL;

    creation.config.error_feedback = 0;
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(create(&creation, comm, &reducer));
    assert_ok(psgd_state_create(&misfit));
    assert_ok(psgd_state_set_error(misfit, "first.weight", ELEMS, values));
    assert_refused(psgd_reducer_import_state(reducer, misfit), PSGD_ERR_STATE, "error feedback");
    psgd_state_destroy(misfit);
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

/* ---- checkpoints --------------------------------------------------------------------------------------------------- */

static char directory[] = "/tmp/psgd-bad-input-XXXXXX";

/* A path in the directory; until the next call. */
static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

static size_t read_file(const char *path, char *bytes, size_t capacity)
{
    FILE  *file = fopen(path, "rb");
    size_t count;

    ck_assert_ptr_nonnull(file);
    count = fread(bytes, 1, capacity, file);
    ck_assert_uint_lt(count, capacity);
    ck_assert_int_eq(fclose(file), 0);
    return count;
}

START_TEST(save__refuses_missing_arguments_and_forms_that_are_no_files)
{
    const char *path = path_of("refused");

    assert_refused(psgd_reducer_save(NULL, path, PSGD_ERROR_MEAN), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_save(bench.reducer, NULL, PSGD_ERROR_MEAN), PSGD_ERR_INVALID_ARGUMENT, "path is NULL");
    assert_refused(psgd_reducer_save(bench.reducer, "", PSGD_ERROR_LOCAL), PSGD_ERR_INVALID_ARGUMENT,
                   "path is NULL or empty");
    assert_refused(psgd_reducer_save(bench.reducer, path, PSGD_ERROR_NONE), PSGD_ERR_INVALID_ARGUMENT, "form is 0");
    assert_refused(psgd_reducer_save(bench.reducer, path, (psgd_error_form_t)3), PSGD_ERR_INVALID_ARGUMENT,
                   "form is 3");
    assert_refused(psgd_reducer_save(bench.reducer, path, (psgd_error_form_t)-1), PSGD_ERR_INVALID_ARGUMENT,
                   "form is -1");
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(save__refuses_places_that_cannot_be_written_to)
{
    static char long_name[5000];

    memset(long_name, 'x', sizeof(long_name) - 1);
    for (psgd_error_form_t form = PSGD_ERROR_LOCAL; form <= PSGD_ERROR_MEAN; ++form) {
        assert_refused(psgd_reducer_save(bench.reducer, path_of("absent/file"), form), PSGD_ERR_FILE, "absent/file");
        assert_refused(psgd_reducer_save(bench.reducer, directory, form), PSGD_ERR_FILE, directory);
        assert_refused(psgd_reducer_save(bench.reducer, long_name, form), PSGD_ERR_FILE, "xxx");
    }
    ck_assert_int_eq(rmdir(directory), 0); /* nothing was left there */
    ck_assert_ptr_nonnull(mkdtemp(strcpy(directory, "/tmp/psgd-bad-input-XXXXXX")));
}
END_TEST

START_TEST(load__refuses_missing_arguments_and_files_that_are_not_there)
{
    static char long_name[5000];

    memset(long_name, 'x', sizeof(long_name) - 1);
    assert_refused(psgd_reducer_load(NULL, path_of("absent")), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_load(bench.reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "path is NULL");
    assert_refused(psgd_reducer_load(bench.reducer, ""), PSGD_ERR_INVALID_ARGUMENT, "path is NULL or empty");
    assert_refused(psgd_reducer_load(bench.reducer, path_of("absent")), PSGD_ERR_FILE, "absent");
    assert_refused(psgd_reducer_load(bench.reducer, directory), PSGD_ERR_FILE, directory);
    assert_refused(psgd_reducer_load(bench.reducer, long_name), PSGD_ERR_FILE, "xxx");
}
END_TEST

START_TEST(load__refuses_files_that_are_no_whole_checkpoint)
{
    static char whole[65536], spoilt[65536];
    size_t      count;

    assert_ok(psgd_reducer_save(bench.reducer, path_of("file"), PSGD_ERROR_MEAN));
    count = read_file(path_of("file"), whole, sizeof(whole));
    write_file(path_of("file"), "", 0);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "is no checkpoint of libpsgd");
    write_file(path_of("file"), "not a checkpoint at all, but a text that is longer than a header of one", 71);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "is no checkpoint of libpsgd");
    write_file(path_of("file"), whole, count - 1);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "cut short");
    memcpy(spoilt, whole, count);
    spoilt[count / 2] ^= 1;
    write_file(path_of("file"), spoilt, count);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "is damaged");
    memcpy(spoilt, whole, count);
    spoilt[12] ^= 1; /* of the header */
    write_file(path_of("file"), spoilt, count);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "the header is damaged");
    memcpy(spoilt, whole, count);
    spoilt[count] = 0;
    write_file(path_of("file"), spoilt, count + 1);
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_FILE, "it was cut short, or added to");
    remove(path_of("file"));
}
END_TEST

/* Saves the state of a reducer that `spoil` has changed the creation of. */
static void save_of_another(void (*spoil)(creation_t *creation), const char *path)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_comm_t    *comm     = NULL;

    spoil(&creation);
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(create(&creation, comm, &reducer));
    assert_ok(psgd_reducer_save(reducer, path, PSGD_ERROR_MEAN));
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}

static void rename_tensor(creation_t *creation)
{
    creation->tensors[0].name = "third.weight";
}

static void change_rank(creation_t *creation)
{
    creation->config.rank = 2;
}

static void change_shape(creation_t *creation)
{
    creation->tensors[0].dims[0] += 1;
}

static void drop_error_feedback(creation_t *creation)
{
    creation->config.error_feedback = 0;
}

static void change_seed(creation_t *creation)
{
    creation->config.seed = 8;
}

static const struct {
    void (*spoil)(creation_t *creation);
    const char *words;
} others[] = {
    {rename_tensor, "first.weight'"},
    {change_rank, "'first.weight' is 40 x 2"},
    {change_shape, "'first.weight' has 1000 elements"},
    {drop_error_feedback, "lacks the error memory of 'first.weight'"},
    {change_seed, "seed"},
};

START_TEST(load__refuses_the_checkpoint_of_another_model)
{
    save_of_another(others[_i].spoil, path_of("file"));
    assert_refused(psgd_reducer_load(bench.reducer, path_of("file")), PSGD_ERR_STATE, others[_i].words);
    remove(path_of("file"));
}
END_TEST

int main(void)
{
    Suite *suite  = suite_create("bad states and checkpoints");
    TCase *states = tcase_create("states");
    TCase *files  = tcase_create("reducers");
    int    result;

    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return EXIT_FAILURE;
    }
    tcase_add_checked_fixture(states, fill_state, assert_state_is_as_filled);
    tcase_add_test(states, state__refuses_missing_arguments);
    tcase_add_test(states, state__refuses_factors_and_errors_of_no_shape);
    tcase_add_loop_test(states, state__refuses_values_that_are_no_numbers, 0, 3);
    tcase_add_test(states, state__tells_what_it_does_not_hold);
    suite_add_tcase(suite, states);

    tcase_add_checked_fixture(files, open_the_bench, close_the_bench);
    tcase_add_test(files, export__refuses_missing_arguments_and_forms_that_are_none);
    tcase_add_test(files, import__refuses_missing_arguments);
    tcase_add_loop_test(files, import__refuses_all_of_a_state_of_which_a_part_does_not_fit, 0,
                        sizeof(misfits) / sizeof(misfits[0]));
    tcase_add_test(files, import__refuses_the_state_of_another_seed_or_of_half_iterations);
    tcase_add_test(files, import__does_not_meet_what_the_state_has_refused);
    tcase_add_test(files, import__refuses_an_error_memory_where_there_is_no_error_feedback);
    tcase_add_test(files, save__refuses_missing_arguments_and_forms_that_are_no_files);
    tcase_add_test(files, save__refuses_places_that_cannot_be_written_to);
    tcase_add_test(files, load__refuses_missing_arguments_and_files_that_are_not_there);
    tcase_add_test(files, load__refuses_files_that_are_no_whole_checkpoint);
    tcase_add_loop_test(files, load__refuses_the_checkpoint_of_another_model, 0, sizeof(others) / sizeof(others[0]));
    suite_add_tcase(suite, files);
    result = bad_input_run(suite, 95);
    workers_close();
    rmdir(directory);
    return result;
}
