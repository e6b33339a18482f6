/* IDX files: read as they are and by gzip; whatever is wrong with one is told. */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>

#include "dataset.h"
#include "idx.h"
#include "support/suite.h"
#include "tool_asserts.h"

enum { MAX_BYTES = 64 * 1024 };

static char directory[] = "/tmp/psgd-test-idx-XXXXXX";

/* A file as it is to be written. */
typedef struct content {
    unsigned char bytes[MAX_BYTES];
    size_t        count;
} content_t;

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", directory, name);
}

static void write_raw(const char *name, const unsigned char *bytes, size_t count)
{
    char  path[256];
    FILE *file;

    path_of(name, path);
    file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

/* The gzip form of `plain`. */
static content_t gzip(const content_t *plain)
{
    char      path[256];
    content_t packed;
    gzFile    file;
    FILE     *back;

    path_of("packing", path);
    file = gzopen(path, "wb9");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(gzwrite(file, plain->bytes, (unsigned)plain->count), (int)plain->count);
    ck_assert_int_eq(gzclose(file), Z_OK);
    back = fopen(path, "rb");
    ck_assert_ptr_nonnull(back);
    packed.count = fread(packed.bytes, 1, MAX_BYTES, back);
    fclose(back);
    unlink(path);
    return packed;
}

static void remove_file(const char *name)
{
    char path[256];

    path_of(name, path);
    unlink(path);
}

static void put(content_t *content, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        content->bytes[content->count++] = (unsigned char)(word >> shift);
    }
}

/* An IDX file of `num_dims` dimensions, whose values count up modulo `modulus`. */
static content_t make_idx(uint32_t num_dims, const uint32_t *dims, uint32_t modulus)
{
    content_t content = {.count = 0};
    uint32_t  values  = 1;

    put(&content, 0x800 | num_dims);
    for (uint32_t i = 0; i < num_dims; ++i) {
        put(&content, dims[i]);
        values *= dims[i];
    }
    for (uint32_t i = 0; i < values; ++i) {
        content.bytes[content.count++] = (unsigned char)(i % modulus);
    }
    return content;
}

static const uint32_t small_dims[3] = {4, 5, 6};

START_TEST(idx__is_read_as_it_is_and_by_gzip)
{
    content_t plain  = make_idx(3, small_dims, 251);
    content_t packed = gzip(&plain);
    idx_t     idx;

    write_raw("raw", plain.bytes, plain.count);
    write_raw("packed.gz", packed.bytes, packed.count);
    for (int i = 0; i < 2; ++i) {
        assert_tool_ok(idx_read(directory, i == 0 ? "raw" : "packed", 3, &idx));
        ck_assert_uint_eq(idx.num_dims, 3);
        ck_assert_mem_eq(idx.dims, small_dims, sizeof(small_dims));
        ck_assert_uint_eq(idx.bytes, 120);
        ck_assert_mem_eq(idx.values, plain.bytes + 16, 120);
        idx_free(&idx);
    }
}
END_TEST

START_TEST(idx__a_missing_file_or_directory_names_the_package)
{
    idx_t idx;

    assert_tool_fails(idx_read(directory, "nothing", 3, &idx), TOOL_FAILED, "dataset-fashion-mnist");
    assert_tool_fails(idx_read("/nowhere/at/all", "nothing", 3, &idx), TOOL_FAILED, "dataset-fashion-mnist");
    write_raw("file", (const unsigned char *)"x", 1);
    assert_tool_fails(idx_read(directory, "file/nothing", 3, &idx), TOOL_FAILED, "dataset-fashion-mnist");
}
END_TEST

START_TEST(idx__another_magic_number_is_refused)
{
    content_t plain = make_idx(3, small_dims, 251);
    idx_t     idx;

    plain.bytes[2] = 0x0D; /* floats */
    write_raw("magic", plain.bytes, plain.count);
    assert_tool_fails(idx_read(directory, "magic", 3, &idx), TOOL_FAILED, "0x00000d03, not 0x00000803");
    plain.bytes[2] = 0x08;
    write_raw("magic", plain.bytes, plain.count);
    assert_tool_fails(idx_read(directory, "magic", 1, &idx), TOOL_FAILED, "0x00000803, not 0x00000801");
}
END_TEST

START_TEST(idx__every_truncation_of_a_raw_file_is_told)
{
    content_t plain = make_idx(3, small_dims, 251);
    idx_t     idx;

    for (size_t count = 0; count < plain.count; ++count) {
        write_raw("short", plain.bytes, count);
        assert_tool_fails(idx_read(directory, "short", 3, &idx), TOOL_FAILED, "is truncated");
    }
}
END_TEST

START_TEST(idx__every_truncation_of_a_gzip_file_is_told)
{
    content_t plain  = make_idx(3, small_dims, 251);
    content_t packed = gzip(&plain);
    idx_t     idx;

    for (size_t count = 0; count < packed.count; ++count) {
        write_raw("short.gz", packed.bytes, count);
        remove_file("short");
        if (count == 1) { /* not even the two bytes that say gzip: what remains is no IDX file either */
            assert_tool_fails(idx_read(directory, "short", 3, &idx), TOOL_FAILED, "short.gz is");
        } else {
            assert_tool_fails(idx_read(directory, "short", 3, &idx), TOOL_FAILED, "is truncated");
        }
    }
}
END_TEST

START_TEST(idx__no_flipped_bit_of_a_gzip_file_changes_what_is_read)
{
    content_t plain  = make_idx(3, small_dims, 7);
    content_t packed = gzip(&plain);
    unsigned  told   = 0;

    for (size_t bit = 0; bit < 8 * packed.count; ++bit) {
        content_t flipped = packed;
        idx_t     idx;

        flipped.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        write_raw("flipped.gz", flipped.bytes, flipped.count);
        if (idx_read(directory, "flipped", 3, &idx) != TOOL_OK) {
            ++told;
            continue;
        }
        ck_assert_uint_eq(idx.bytes, 120);
        ck_assert_mem_eq(idx.values, plain.bytes + 16, 120);
        idx_free(&idx);
    }
    ck_assert_uint_ge(told, 8 * (packed.count - 10)); /* all but those of the date and such in the header of 10 bytes */
}
END_TEST

START_TEST(idx__bytes_behind_the_values_are_refused)
{
    content_t plain = make_idx(3, small_dims, 251);
    content_t packed;
    idx_t     idx;

    plain.bytes[plain.count++] = 0;
    packed                     = gzip(&plain);
    write_raw("long", plain.bytes, plain.count);
    assert_tool_fails(idx_read(directory, "long", 3, &idx), TOOL_FAILED, "longer than its header says");
    write_raw("longer.gz", packed.bytes, packed.count);
    assert_tool_fails(idx_read(directory, "longer", 3, &idx), TOOL_FAILED, "longer than its header says");
}
END_TEST

START_TEST(idx__dimensions_that_no_file_can_hold_are_refused)
{
    static const uint32_t dims[][3] = {
        {0, 5, 6}, {4, 5, 0}, {0xFFFFFFFF, 28, 28}, {65536, 65536, 1}, {2, 0x80000000, 1}};

    for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); ++i) {
        content_t content = {.count = 0};
        idx_t     idx;

        put(&content, 0x803);
        for (int k = 0; k < 3; ++k) {
            put(&content, dims[i][k]);
        }
        write_raw("dims", content.bytes, content.count);
        assert_tool_fails(idx_read(directory, "dims", 3, &idx), TOOL_FAILED, "claims a dimension of");
    }
}
END_TEST

/* Four files that make a data set of 12 training and 3 test images. */
static void write_dataset(void)
{
    static const uint32_t train[3] = {12, IMAGE_SIDE, IMAGE_SIDE};
    static const uint32_t test[3]  = {3, IMAGE_SIDE, IMAGE_SIDE};
    content_t             content  = make_idx(3, train, 256);

    write_raw("train-images-idx3-ubyte", content.bytes, content.count);
    content = make_idx(1, train, NUM_CLASSES);
    write_raw("train-labels-idx1-ubyte", content.bytes, content.count);
    content = make_idx(3, test, 256);
    write_raw("t10k-images-idx3-ubyte", content.bytes, content.count);
    content = make_idx(1, test, NUM_CLASSES);
    write_raw("t10k-labels-idx1-ubyte", content.bytes, content.count);
}

START_TEST(dataset__is_read_and_measured)
{
    dataset_t dataset, again;
    double    mean, deviation;

    write_dataset();
    assert_tool_ok(dataset_load(directory, &dataset));
    ck_assert_uint_eq(dataset.train.count, 12);
    ck_assert_uint_eq(dataset.test.count, 3);
    ck_assert_uint_eq(dataset.train.labels.values[11], 1);

    dataset_moments(&dataset.train, &mean,
                    &deviation); /* 9408 values that count up: 36 times 0 to 255, then 0 to 191 */
    ck_assert_double_eq_tol(mean, (36.0 * 32640.0 + 18336.0) / 9408.0, 1e-9);
    ck_assert_double_eq_tol(deviation, 73.9, 0.3);

    assert_tool_ok(dataset_load(directory, &again));
    ck_assert_uint_eq(dataset_hash(&dataset), dataset_hash(&again));
    again.test.labels.values[2] ^= 1;
    ck_assert_uint_ne(dataset_hash(&dataset), dataset_hash(&again));
    dataset_free(&dataset);
    dataset_free(&again);
}
END_TEST

START_TEST(dataset__counts_labels_and_sizes_that_do_not_fit_are_refused)
{
    static const uint32_t fewer[1]  = {11};
    static const uint32_t flat[3]   = {12, IMAGE_SIDE, 27};
    static const uint32_t labels[1] = {12};
    content_t             content   = make_idx(1, fewer, NUM_CLASSES);
    dataset_t             dataset;

    write_dataset();
    write_raw("train-labels-idx1-ubyte", content.bytes, content.count);
    assert_tool_fails(dataset_load(directory, &dataset), TOOL_FAILED, "holds 12 images and");

    content = make_idx(1, labels, 11); /* label 10 is the eleventh */
    write_raw("train-labels-idx1-ubyte", content.bytes, content.count);
    assert_tool_fails(dataset_load(directory, &dataset), TOOL_FAILED, "label 10 is 10");

    write_dataset();
    content = make_idx(3, flat, 256);
    write_raw("train-images-idx3-ubyte", content.bytes, content.count);
    assert_tool_fails(dataset_load(directory, &dataset), TOOL_FAILED, "are 28 x 27");

    write_dataset();
    remove_file("t10k-labels-idx1-ubyte");
    assert_tool_fails(dataset_load(directory, &dataset), TOOL_FAILED, "t10k-labels-idx1-ubyte");
}
END_TEST

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[300];

    snprintf(command, sizeof(command), "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

int main(void)
{
    Suite *suite = suite_create("train_idx");
    TCase *tcase = tcase_create("idx");

    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, idx__is_read_as_it_is_and_by_gzip);
    tcase_add_test(tcase, idx__a_missing_file_or_directory_names_the_package);
    tcase_add_test(tcase, idx__another_magic_number_is_refused);
    tcase_add_test(tcase, idx__every_truncation_of_a_raw_file_is_told);
    tcase_add_test(tcase, idx__every_truncation_of_a_gzip_file_is_told);
    tcase_add_test(tcase, idx__no_flipped_bit_of_a_gzip_file_changes_what_is_read);
    tcase_add_test(tcase, idx__bytes_behind_the_values_are_refused);
    tcase_add_test(tcase, idx__dimensions_that_no_file_can_hold_are_refused);
    tcase_add_test(tcase, dataset__is_read_and_measured);
    tcase_add_test(tcase, dataset__counts_labels_and_sizes_that_do_not_fit_are_refused);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
