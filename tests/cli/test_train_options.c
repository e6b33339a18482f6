/* The command line of psgd-train: what is accepted, and the sentence about what is not. */
#include "options.h"
#include "support/suite.h"
#include "tool_asserts.h"

enum { MAX_ARGUMENTS = 8 };

static tool_status_t parse(const char *const *arguments, options_t *options)
{
    char *argv[MAX_ARGUMENTS + 2] = {(char *)(uintptr_t) "psgd-train"};
    int   argc                    = 1;

    for (; arguments[argc - 1] != NULL; ++argc) {
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    }
    return options_parse(argc, argv, options);
}

#define PARSE(options_, ...) parse((const char *const[]){__VA_ARGS__, NULL}, options_)

START_TEST(options__defaults_hold_where_nothing_is_given)
{
    const char *const none[] = {NULL};
    options_t         options;

    assert_tool_ok(parse(none, &options));
    ck_assert_int_eq(options.model, MODEL_MLP);
    ck_assert_str_eq(options.data, "/usr/share/datasets/fashion-mnist");
    ck_assert_uint_eq(options.rank, 4);
    ck_assert(!options.compare && !options.json && !options.help && !options.version);
    ck_assert_uint_eq(options.steps, 0);
    ck_assert_uint_eq(options.batch, 32);
    ck_assert_uint_eq(options.width, 1);
    ck_assert_uint_eq(options_bucket_bytes(&options), 1000000);
    ck_assert(!options.no_overlap && !options.progress_thread);
    ck_assert_double_eq(options.min_compression_rate, 2.0);
    ck_assert_ptr_null(options.device);
    ck_assert_uint_gt(options.epochs, 0);
    ck_assert_double_gt(options.lr, 0.0);
}
END_TEST

START_TEST(options__the_defaults_are_those_of_the_model)
{
    options_t options;

    assert_tool_ok(PARSE(&options, "--model=lstm"));
    ck_assert_ptr_null(options.data);
    ck_assert_uint_eq(options.batch, 8);
    ck_assert_uint_eq(options.bptt, 25);
    ck_assert_uint_eq(options.vocabulary, 4000);
    ck_assert_uint_eq(options.embedding, 128);
    ck_assert_uint_eq(options.hidden, 128);
    ck_assert(!options.tied);
    ck_assert_double_gt(options.max_norm, 0.0);
    ck_assert_int_eq(options.decay, DECAY_LINEAR);
    assert_tool_ok(
        PARSE(&options, "--model=lstm", "--max-norm=0", "--momentum=0", "--decay=none", "--data=x", "--batch=3"));
    ck_assert_double_eq(options.max_norm, 0.0);
    ck_assert_double_eq(options.momentum, 0.0);
    ck_assert_int_eq(options.decay, DECAY_NONE);
    ck_assert_str_eq(options.data, "x");
    ck_assert_uint_eq(options.batch, 3);
    assert_tool_ok(PARSE(&options, "--model=cnn"));
    ck_assert_double_eq(options.max_norm, 0.0);
    ck_assert_double_eq(options.momentum, 0.9);
}
END_TEST

START_TEST(options__each_takes_its_value_behind_a_blank_or_an_equals_sign)
{
    options_t options;

    assert_tool_ok(PARSE(&options, "--model", "cnn", "--rank=0", "--epochs", "7", "--steps=12", "--batch=64"));
    ck_assert_int_eq(options.model, MODEL_CNN);
    ck_assert_uint_eq(options.rank, 0);
    ck_assert_uint_eq(options.epochs, 7);
    ck_assert_uint_eq(options.steps, 12);
    ck_assert_uint_eq(options.batch, 64);
    assert_tool_ok(PARSE(&options, "--lr=0.25", "--decay", "cosine", "--momentum=0", "--seed=18446744073709551615"));
    ck_assert_double_eq(options.lr, 0.25);
    ck_assert_int_eq(options.decay, DECAY_COSINE);
    ck_assert_double_eq(options.momentum, 0.0);
    ck_assert_uint_eq(options.seed, UINT64_MAX);
    assert_tool_ok(
        PARSE(&options, "--start-step=5", "--min-compression-rate=0", "--device=cpu", "--data=x", "--compare"));
    ck_assert_uint_eq(options.start_step, 5);
    ck_assert_double_eq(options.min_compression_rate, 0.0);
    ck_assert_str_eq(options.device, "cpu");
    ck_assert_str_eq(options.data, "x");
    ck_assert(options.compare);
}
END_TEST

START_TEST(options__json_takes_a_file_or_none)
{
    options_t options;

    assert_tool_ok(PARSE(&options, "--json"));
    ck_assert(options.json && options.json_file == NULL);
    assert_tool_ok(PARSE(&options, "--json", "--compare"));
    ck_assert(options.json && options.json_file == NULL && options.compare);
    assert_tool_ok(PARSE(&options, "--json", "out.json", "--compare"));
    ck_assert(options.json && options.compare);
    ck_assert_str_eq(options.json_file, "out.json");
    assert_tool_ok(PARSE(&options, "--json=out.json"));
    ck_assert_str_eq(options.json_file, "out.json");
}
END_TEST

typedef struct refused {
    const char *arguments[3];
    const char *words;
} refused_t;

START_TEST(options__what_cannot_be_is_refused_with_a_sentence)
{
    static const refused_t cases[] = {
        {{"--frobnicate"}, "unknown option '--frobnicate'"},
        {{"--rankle=3"}, "unknown option '--rankle=3'"},
        {{"extra"}, "unknown option 'extra'"},
        {{"-r"}, "unknown option '-r'"},
        {{""}, "unknown option ''"},
        {{"--rank"}, "--rank takes a value"},
        {{"--rank", "four"}, "--rank takes a whole number, not 'four'"},
        {{"--rank", "4.5"}, "--rank takes a whole number, not '4.5'"},
        {{"--rank", "-1"}, "--rank takes a whole number, not '-1'"},
        {{"--rank", " 4"}, "--rank takes a whole number, not ' 4'"},
        {{"--rank="}, "--rank takes a whole number, not ''"},
        {{"--rank", "1025"}, "from 0 to 1024, not 1025"},
        {{"--width", "0"}, "--width takes a whole number from 1 to 64, not 0"},
        {{"--width", "65"}, "--width takes a whole number from 1 to 64, not 65"},
        {{"--bucket-kb", "-1"}, "--bucket-kb takes a whole number, not '-1'"},
        {{"--bucket-kb", "1e3"}, "--bucket-kb takes a whole number, not '1e3'"},
        {{"--bucket-kb", "1000000000001"}, "--bucket-kb takes a whole number from 0 to 1000000000000"},
        {{"--no-overlap=1"}, "--no-overlap takes no value"},
        {{"--progress-thread=1"}, "--progress-thread takes no value"},
        {{"--epochs", "0"}, "--epochs takes a whole number from 1"},
        {{"--batch", "0"}, "--batch takes a whole number from 1"},
        {{"--batch", "99999999999999999999999"}, "--batch takes a whole number from"},
        {{"--seed", "18446744073709551616"}, "--seed takes a whole number from"},
        {{"--lr", "fast"}, "--lr takes a number, not 'fast'"},
        {{"--lr", "nan"}, "--lr takes a number from"},
        {{"--lr", "inf"}, "--lr takes a number from"},
        {{"--lr", "-0.1"}, "--lr takes a number from 0 to"},
        {{"--momentum", "1"}, "--momentum takes a number from 0 to 0.9999"},
        {{"--min-compression-rate", "-2"}, "--min-compression-rate takes a number from 0"},
        {{"--model", "gru"}, "--model takes mlp|cnn|lstm, not 'gru'"},
        {{"--tied"}, "--tied is of --model lstm; --model mlp takes images"},
        {{"--model=cnn", "--bptt=5"}, "--bptt is of --model lstm; --model cnn takes images"},
        {{"--vocabulary=50"}, "--vocabulary is of --model lstm"},
        {{"--embedding=50"}, "--embedding is of --model lstm"},
        {{"--hidden=50"}, "--hidden is of --model lstm"},
        {{"--model=lstm", "--tied", "--hidden=64"}, "--embedding 128 has to be --hidden 64"},
        {{"--vocabulary", "2"}, "--vocabulary takes a whole number from 3"},
        {{"--bptt", "0"}, "--bptt takes a whole number from 1"},
        {{"--test-every", "-1"}, "--test-every takes a whole number, not '-1'"},
        {{"--decay", "slow"}, "--decay takes linear|cosine|none, not 'slow'"},
        {{"--data", ""}, "--data takes a text that is not empty"},
        {{"--compare=1"}, "--compare takes no value"},
        {{"--compare", "--rank=0"}, "--compare needs a --rank of at least 1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        options_t options;
        assert_tool_fails(parse(cases[i].arguments, &options), TOOL_USAGE, cases[i].words);
    }
}
END_TEST

START_TEST(options__tests_on_the_way_are_the_jobs_and_not_the_runs)
{
    options_t options, other;

    assert_tool_ok(PARSE(&options, "--model=lstm"));
    assert_tool_ok(PARSE(&other, "--model=lstm", "--test-every=7"));
    ck_assert_uint_eq(options_hash(&options), options_hash(&other));
    ck_assert_uint_ne(options_job_hash(&options), options_job_hash(&other));
    assert_tool_ok(PARSE(&other, "--model=lstm", "--tied"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
    assert_tool_ok(PARSE(&other, "--model=lstm", "--bptt=26"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
}
END_TEST

START_TEST(options__hash_tells_apart_what_workers_must_share)
{
    options_t options, other;

    assert_tool_ok(PARSE(&options, "--rank=4"));
    assert_tool_ok(PARSE(&other, "--device=1", "--json=x", "--data=y", "--no-overlap", "--progress-thread"));
    ck_assert_uint_eq(options_hash(&options), options_hash(&other));
    assert_tool_ok(PARSE(&other, "--seed=2"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
    assert_tool_ok(PARSE(&other, "--bucket-kb=999"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
    assert_tool_ok(PARSE(&other, "--width=2"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
    assert_tool_ok(PARSE(&other, "--lr=0.011"));
    ck_assert_uint_ne(options_hash(&options), options_hash(&other));
}
END_TEST

/* That an option does not go with the compressor, and the sentence names both. */
static void check_refused(const char *compressor, const char *option, const char *value)
{
    options_t options;
    char      words[64];

    snprintf(words, sizeof(words), "%s does not go with --compressor %s", option, compressor);
    if (value == NULL) {
        assert_tool_fails(PARSE(&options, "--compressor", compressor, option), TOOL_USAGE, words);
    } else {
        assert_tool_fails(PARSE(&options, "--compressor", compressor, option, value), TOOL_USAGE, words);
    }
}

START_TEST(compressor__refuses_what_is_the_librarys)
{
    static const char *const given[][2] = {{"--start-step", "3"},
                                           {"--half-iterations", "1"},
                                           {"--fused-update", NULL},
                                           {"--warm-start", "0"},
                                           {"--byte-budget", "9"},
                                           {"--wire", "f16"},
                                           {"--error-dtype", "bf16"},
                                           {"--gradient-dtype", "f16"},
                                           {"--loss-scale", "2"},
                                           {"--flatten", NULL},
                                           {"--orthogonalize-shorter", NULL},
                                           {"--new-rank", "2"},
                                           {"--absent-every", "3"},
                                           {"--reset-error-every", "3"},
                                           {"--engine", "fused"},
                                           {"--finite", NULL},
                                           {"--sharing", "owners"},
                                           {"--check-every", "3"},
                                           {"--energy-every", "3"},
                                           {"--log-every", "3"},
                                           {"--save", "x"},
                                           {"--resume", "x"},
                                           {"--bucket-kb", "9"},
                                           {"--no-overlap", NULL},
                                           {"--progress-thread", NULL},
                                           {"--rank", "0"}};
    options_t options;

    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); ++i) {
        check_refused("top-k", given[i][0], given[i][1]);
    }
    check_refused("atomo", "--error-feedback", "0");
    check_refused("signum", "--error-feedback", "0");
    check_refused("signum", "--rule", "nesterov");
    assert_tool_ok(PARSE(&options, "--compressor", "top-k", "--error-feedback", "0", "--rule", "nesterov"));
    assert_tool_ok(PARSE(&options, "--compressor", "top-k", "--compare", "--no-overlap"));
    assert_tool_ok(PARSE(&options, "--compressor", "top-k", "--max-norm", "1"));
    assert_tool_ok(PARSE(&options, "--compressor", "top-k", "--model", "lstm")); /* which clips by default */
    assert_tool_fails(PARSE(&options, "--compressor", "gzip"), TOOL_USAGE, "gzip");
}
END_TEST

START_TEST(compressor__has_a_learning_rate_of_its_own)
{
    options_t options;

    assert_tool_ok(PARSE(&options, "--compressor", "top-k"));
    ck_assert_double_eq(options.compressor_lr, 0.05);
    assert_tool_ok(PARSE(&options, "--compressor", "signum", "--lr", "0.5"));
    ck_assert_double_eq_tol(options.compressor_lr, 0.005, 1e-12);
    assert_tool_ok(PARSE(&options, "--compressor", "signum", "--compressor-lr", "0.25"));
    ck_assert_double_eq(options.compressor_lr, 0.25);
    ck_assert_double_eq(options.lr, 0.05);
    assert_tool_fails(PARSE(&options, "--compressor-lr", "0.1"), TOOL_USAGE,
                      "--compressor-lr is for other compressors");
}
END_TEST

START_TEST(hash__differs_with_the_compressor)
{
    options_t first, second, third;

    assert_tool_ok(PARSE(&first, "--compressor", "powersgd"));
    assert_tool_ok(PARSE(&second, "--compressor", "top-k"));
    assert_tool_ok(PARSE(&third, "--compressor", "top-k", "--compressor-lr", "0.1"));
    ck_assert_uint_ne(options_hash(&first), options_hash(&second));
    ck_assert_uint_ne(options_hash(&second), options_hash(&third));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train_options");
    TCase *tcase = tcase_create("options");

    tcase_add_test(tcase, options__defaults_hold_where_nothing_is_given);
    tcase_add_test(tcase, options__the_defaults_are_those_of_the_model);
    tcase_add_test(tcase, options__each_takes_its_value_behind_a_blank_or_an_equals_sign);
    tcase_add_test(tcase, options__json_takes_a_file_or_none);
    tcase_add_test(tcase, options__what_cannot_be_is_refused_with_a_sentence);
    tcase_add_test(tcase, options__tests_on_the_way_are_the_jobs_and_not_the_runs);
    tcase_add_test(tcase, options__hash_tells_apart_what_workers_must_share);
    tcase_add_test(tcase, compressor__refuses_what_is_the_librarys);
    tcase_add_test(tcase, compressor__has_a_learning_rate_of_its_own);
    tcase_add_test(tcase, hash__differs_with_the_compressor);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
