/* Texts: their words, what is held out, the streams that workers read; the bigram model against one that counts naively. */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>

#include "bigram.h"
#include "gpu.h"
#include "kernels.h"
#include "random.h"
#include "support/suite.h"
#include "text.h"
#include "text_feed.h"
#include "text_source.h"
#include "tool_asserts.h"
#include "train_device.h"

/* A text_make() of a copy of the string. */
static tool_status_t make(const char *string, size_t count, uint32_t vocabulary, text_t *text)
{
    char         *bytes = malloc(count + 1);
    tool_status_t status;

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, string, count);
    bytes[count] = '\0';
    status       = text_make("here", bytes, count, vocabulary, text);
    free(bytes);
    return status;
}

START_TEST(text__words_are_numbered_by_frequency_and_then_by_their_bytes)
{
    static const char string[] = "b a c a\n\n  \nA, B\n!\n!\n!\n!\n!\n!\nrare b\nheld out B\n";
    /* 0 <unk>, 1 <end>; "!" 6 times, "a" 3, "b" 3, "," 1, "c" 1, "rare" 1; "held", "out" in the held-out part alone */
    static const uint32_t train[] = {4, 3, 6, 3, 1, 3, 5, 4, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 7, 4, 1};
    static const uint32_t test[]  = {0, 0, 4, 1};
    text_t                text;

    assert_tool_ok(make(string, sizeof(string) - 1, 100, &text));
    ck_assert_uint_eq(text.sentences, 10);
    ck_assert_uint_eq(text.vocabulary, 8);
    ck_assert_uint_eq(text.train.count, sizeof(train) / sizeof(train[0]));
    ck_assert_mem_eq(text.train.words, train, sizeof(train));
    ck_assert_uint_eq(text.test.count, sizeof(test) / sizeof(test[0]));
    ck_assert_mem_eq(text.test.words, test, sizeof(test));
    text_free(&text);
    assert_tool_ok(make(string, sizeof(string) - 1, 4, &text));
    ck_assert_uint_eq(text.vocabulary, 4);
    for (size_t i = 0; i < text.train.count; ++i) {
        ck_assert_uint_eq(text.train.words[i], train[i] < 4 ? train[i] : TEXT_UNKNOWN);
    }
    text_free(&text);
}
END_TEST

START_TEST(text__words_keep_apostrophes_hyphens_and_utf_8)
{
    /* Each line is one word, thirteen times. */
    static const char *const words[] = {"lord's", "beth-el", "\xC3\xA9t\xC3\xA9", "2nd", "-", "'"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        char   string[512] = "";
        text_t text;

        for (int k = 0; k < 13; ++k) {
            strcat(strcat(string, words[i]), "\n");
        }
        assert_tool_ok(make(string, strlen(string), 100, &text));
        ck_assert_uint_eq(text.vocabulary, TEXT_FIRST_WORD + 1);
        ck_assert_uint_eq(text.train.count + text.test.count, 26);
        text_free(&text);
    }
}
END_TEST

START_TEST(text__of_ten_blocks_the_last_is_held_out)
{
    char   string[3 * 2500] = "";
    text_t text;
    size_t length = 0;

    for (int i = 0; i < 2500; ++i) { /* sentence i is the word i / 100 */
        length += (size_t)snprintf(string + length, sizeof(string) - length, "%c\n", 'a' + i / 100);
    }
    assert_tool_ok(make(string, length, 100, &text));
    ck_assert_uint_eq(text.sentences, 2500);
    ck_assert_uint_eq(text.test.count, 2 * 200);
    ck_assert_uint_eq(text.train.count, 2 * 2300);
    ck_assert_uint_eq(text.vocabulary, TEXT_FIRST_WORD + 23); /* 'j' and 't' are in the held-out part alone */
    for (size_t i = 0; i < text.test.count; ++i) {
        ck_assert_uint_eq(text.test.words[i], i % 2 == 0 ? TEXT_UNKNOWN : TEXT_END);
    }
    text_free(&text);
}
END_TEST

START_TEST(text__what_is_no_text_is_refused_with_a_sentence)
{
    text_t text;

    assert_tool_fails(make("a\nb\nc\n", 6, 10, &text), TOOL_FAILED, "here has 3 lines with words");
    assert_tool_fails(make("", 0, 10, &text), TOOL_FAILED, "here has 0 lines with words");
    assert_tool_fails(make("a\nb\0c\n", 6, 10, &text), TOOL_FAILED, "here is not a text");
}
END_TEST

START_TEST(source__files_are_read_as_they_are_and_by_gzip)
{
    char   directory[] = "/tmp/psgd-test-text-XXXXXX", path[64];
    char  *bytes = NULL, *long_text = malloc(3 << 20);
    size_t count = 0;
    gzFile file;

    ck_assert_ptr_nonnull(long_text);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    memset(long_text, 'x', 3 << 20);
    for (int form = 0; form < 2; ++form) {
        snprintf(path, sizeof(path), "%s/text", directory);
        file = gzopen(path, form == 0 ? "wb" : "wbT"); /* T: as it is */
        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(gzwrite(file, long_text, 3 << 20), 3 << 20);
        ck_assert_int_eq(gzclose(file), Z_OK);
        assert_tool_ok(text_source_read(path, &bytes, &count));
        ck_assert_uint_eq(count, 3 << 20);
        ck_assert_mem_eq(bytes, long_text, count);
        ck_assert_int_eq(bytes[count], 0);
        free(bytes);
        unlink(path);
    }
    assert_tool_fails(text_source_read(path, &bytes, &count), TOOL_FAILED, "cannot open the text");
    assert_tool_fails(text_source_read(directory, &bytes, &count), TOOL_FAILED, "Is a directory");
    rmdir(directory);
    free(long_text);
}
END_TEST

/* A text of random words, the small ones more likely. */
static text_t random_text(uint32_t vocabulary, size_t train, size_t test)
{
    random_stream_t stream = random_stream(11, 1);
    text_t          text   = {.vocabulary = vocabulary, .train = {NULL, train}, .test = {NULL, test}};

    text.train.words = calloc(train, sizeof(uint32_t));
    text.test.words  = calloc(test, sizeof(uint32_t));
    ck_assert(text.train.words != NULL && text.test.words != NULL);
    for (size_t i = 0; i < train + test; ++i) {
        uint32_t word = (uint32_t)(vocabulary * random_unit(&stream) * random_unit(&stream));

        *(i < train ? &text.train.words[i] : &text.test.words[i - train]) = word;
    }
    return text;
}

enum { NAIVE_WORDS = 31 };

/* n1 / (n1 + 2 n2) */
static double naive_discount(const double *counts, size_t num_counts)
{
    double ones = 0.0, twos = 0.0;

    for (size_t i = 0; i < num_counts; ++i) {
        ones += counts[i] == 1.0;
        twos += counts[i] == 2.0;
    }
    return ones / (ones + 2.0 * twos);
}

START_TEST(bigram__perplexity_equals_one_of_naive_counts)
{
    text_t text                             = random_text(NAIVE_WORDS, 300, 100);
    double counts[NAIVE_WORDS][NAIVE_WORDS] = {{0.0}}, leaders[NAIVE_WORDS] = {0.0}, kinds = 0.0, led = 0.0, sum = 0.0,
           got = 0.0;
    double discount, lower_discount, table[NAIVE_WORDS][NAIVE_WORDS];

    for (size_t i = 0; i < text.train.count; ++i) {
        counts[i > 0 ? text.train.words[i - 1] : TEXT_END][text.train.words[i]] += 1.0;
    }
    for (int v = 0; v < NAIVE_WORDS; ++v) {
        for (int w = 0; w < NAIVE_WORDS; ++w) {
            leaders[w] += counts[v][w] > 0.0;
            kinds += counts[v][w] > 0.0;
        }
    }
    for (int w = 0; w < NAIVE_WORDS; ++w) {
        led += leaders[w] > 0.0;
    }
    discount       = naive_discount(&counts[0][0], NAIVE_WORDS * NAIVE_WORDS);
    lower_discount = naive_discount(leaders, NAIVE_WORDS);
    for (int v = 0; v < NAIVE_WORDS; ++v) {
        double total = 0.0, followers = 0.0, all = 0.0;

        for (int w = 0; w < NAIVE_WORDS; ++w) {
            total += counts[v][w];
            followers += counts[v][w] > 0.0;
        }
        for (int w = 0; w < NAIVE_WORDS; ++w) {
            double lower = (fmax(leaders[w] - lower_discount, 0.0) + lower_discount * led / NAIVE_WORDS) / kinds;

            table[v][w] =
                total == 0.0 ? lower : (fmax(counts[v][w] - discount, 0.0) + discount * followers * lower) / total;
            all += table[v][w];
        }
        ck_assert_double_eq_tol(all, 1.0, 1e-12); /* a probability */
    }
    for (size_t i = 0; i < text.test.count; ++i) {
        sum -= log(table[i > 0 ? text.test.words[i - 1] : TEXT_END][text.test.words[i]]);
    }
    assert_tool_ok(bigram_perplexity(&text, &got));
    ck_assert_double_eq_tol(got, exp(sum / (double)text.test.count), 1e-9 * got);
    text_free(&text);
}
END_TEST

enum { STREAMS = 2, PLACES = 3, BATCH = STREAMS * PLACES };

/* One batch as it arrives, and that its order is by word and place. */
static void take_batch(const text_feed_t *feed, uint64_t step, network_t *network, uint32_t words[BATCH],
                       uint32_t targets[BATCH])
{
    uint32_t order[BATCH];
    unsigned seen = 0;

    assert_tool_ok(text_feed_enqueue(feed, step, network));
    assert_tool_ok(gpu_read(&gpu, network->input, words, BATCH * sizeof(*words)));
    assert_tool_ok(gpu_read(&gpu, network->targets, targets, BATCH * sizeof(*targets)));
    assert_tool_ok(gpu_read(&gpu, network->order, order, sizeof(order)));
    for (size_t k = 0; k < BATCH; ++k) {
        ck_assert_uint_lt(order[k], BATCH);
        seen |= 1u << order[k];
        if (k > 0) {
            ck_assert_uint_le(words[order[k - 1]], words[order[k]]);
            ck_assert(words[order[k - 1]] != words[order[k]] || order[k - 1] < order[k]);
        }
    }
    ck_assert_uint_eq(seen, (1u << BATCH) - 1);
}

/* Streams go through their pieces word by word; what is asked for comes next in the text. `asked` counts by word's place. */
static void read_feed(const text_part_t *part, uint32_t worker, bool is_whole, network_t *network, unsigned *asked)
{
    workers_t   workers = {.count = 3, .index = worker};
    size_t      piece   = is_whole ? (part->count + 5) / 6 : part->count / 6;
    text_feed_t feed;

    assert_tool_ok(text_feed_create(&gpu, part, &workers, STREAMS, PLACES, is_whole, &feed));
    ck_assert_uint_eq(feed.steps, is_whole ? (piece + PLACES - 1) / PLACES : piece / PLACES);
    for (uint64_t step = 0; step < feed.steps; ++step) {
        uint32_t words[BATCH], targets[BATCH];

        take_batch(&feed, step, network, words, targets);
        for (size_t n = 0; n < BATCH; ++n) {
            size_t in_piece = step * PLACES + n / STREAMS;
            size_t at       = (worker * STREAMS + n % STREAMS) * piece + in_piece;

            if (in_piece >= piece || at >= part->count) {
                ck_assert(is_whole);
                ck_assert_uint_eq(targets[n], UINT32_MAX);
                continue;
            }
            ck_assert_uint_eq(targets[n], part->words[at]);
            ck_assert_uint_eq(words[n], at > 0 ? part->words[at - 1] : TEXT_END);
            ++asked[at];
        }
    }
    text_feed_free(&feed);
}

START_TEST(feed__workers_read_the_text_in_streams)
{
    const lstm_shape_t shape = {.vocabulary = 20, .embedding = 2, .hidden = 2, .streams = STREAMS, .places = PLACES};
    text_t             text  = random_text(20, 100, 41);
    unsigned           asked[100];
    network_t          network;

    assert_tool_ok(network_create_lstm(&network, &gpu, &shape));
    memset(asked, 0, sizeof(asked));
    for (uint32_t worker = 0; worker < 3; ++worker) {
        read_feed(&text.train, worker, false, &network, asked);
    }
    for (size_t i = 0; i < 100; ++i) { /* pieces of 16: five steps of three words in each, and four words behind */
        ck_assert_uint_eq(asked[i], i < 96 && i % 16 < 15);
    }
    memset(asked, 0, sizeof(asked));
    for (uint32_t worker = 0; worker < 3; ++worker) {
        read_feed(&text.test, worker, true, &network, asked);
    }
    for (size_t i = 0; i < 41; ++i) {
        ck_assert_uint_eq(asked[i], 1);
    }
    network_destroy(&network);
    text_free(&text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train_text");
    TCase *tcase = tcase_create("text");

    tcase_add_unchecked_fixture(tcase, open_device, close_device);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, text__words_are_numbered_by_frequency_and_then_by_their_bytes);
    tcase_add_test(tcase, text__words_keep_apostrophes_hyphens_and_utf_8);
    tcase_add_test(tcase, text__of_ten_blocks_the_last_is_held_out);
    tcase_add_test(tcase, text__what_is_no_text_is_refused_with_a_sentence);
    tcase_add_test(tcase, source__files_are_read_as_they_are_and_by_gzip);
    tcase_add_test(tcase, bigram__perplexity_equals_one_of_naive_counts);
    tcase_add_test(tcase, feed__workers_read_the_text_in_streams);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
