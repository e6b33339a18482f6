/* The models of psgd-bench: the built-in shapes, and files of shapes with the sentence about what is wrong in them. */
#define _POSIX_C_SOURCE 200809L /* mkstemp() */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model.h"
#include "support/suite.h"
#include "tool_asserts.h"

/* How many tensors of two or more dims have this matrix view. */
static unsigned count_matrices(const model_t *model, uint64_t rows, uint64_t cols)
{
    unsigned count = 0;

    for (size_t t = 0; t < model->count; ++t) {
        const model_tensor_t *tensor = &model->tensors[t];

        count += tensor->num_dims > 1 && tensor->dims[0] == rows && tensor->elems / rows == cols;
    }
    return count;
}

static uint64_t vector_elems(const model_t *model)
{
    uint64_t elems = 0;

    for (size_t t = 0; t < model->count; ++t) {
        elems += model->tensors[t].num_dims == 1 ? model->tensors[t].elems : 0;
    }
    return elems;
}

START_TEST(models__have_the_parameters_that_are_published)
{
    static const struct {
        const char *name;
        uint64_t    elems;
        size_t      count;
    } models[] = {
        {"resnet18", 11173962, 62}, {"resnet50", 25557032, 161}, {"lstm", 28949319, 14}, {"gpt2", 124439808, 148}};

    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); ++i) {
        model_t model = {0};

        assert_tool_ok(model_load(models[i].name, &model));
        ck_assert_uint_eq(model.elems, models[i].elems);
        ck_assert_uint_eq(model.count, models[i].count);
        model_free(&model);
    }
}
END_TEST

START_TEST(models__resnet18_has_the_matrices_of_the_paper)
{
    static const struct {
        uint64_t rows, cols;
        unsigned count;
    } matrices[]  = {{64, 27, 1},    {64, 576, 4},  {128, 576, 1},  {128, 1152, 3}, {128, 64, 1},  {256, 1152, 1},
                     {256, 2304, 3}, {256, 128, 1}, {512, 2304, 1}, {512, 4608, 3}, {512, 256, 1}, {10, 512, 1}};
    model_t model = {0};

    assert_tool_ok(model_load("resnet18", &model));
    for (size_t i = 0; i < sizeof(matrices) / sizeof(matrices[0]); ++i) {
        ck_assert_msg(count_matrices(&model, matrices[i].rows, matrices[i].cols) == matrices[i].count, "%u x %u",
                      (unsigned)matrices[i].rows, (unsigned)matrices[i].cols);
    }
    ck_assert_uint_eq(vector_elems(&model), 9610);
    ck_assert_ptr_nonnull(model_find(&model, "layer4.1.conv2.weight"));
    ck_assert_uint_eq(model_find(&model, "layer4.1.conv2.weight")->num_dims, 4);
    ck_assert_ptr_null(model_find(&model, "layer4.1.conv2.bias"));
    model_free(&model);
}
END_TEST

START_TEST(models__names_are_unique)
{
    static const char *const names[] = {"resnet18", "resnet50", "lstm", "gpt2"};

    for (size_t i = 0; i < 4; ++i) {
        model_t model = {0};

        assert_tool_ok(model_load(names[i], &model));
        for (size_t t = 0; t < model.count; ++t) {
            ck_assert_ptr_eq(model_find(&model, model.tensors[t].name), &model.tensors[t]);
        }
        model_free(&model);
    }
}
END_TEST

/* Reads a model from a file of this content. */
static tool_status_t read_text(const char *text, size_t length, char path[32], model_t *model)
{
    tool_status_t status;
    int           file;

    strcpy(path, "/tmp/psgd-bench-XXXXXX");
    file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq((int)write(file, text, length), (int)length);
    close(file);
    memset(model, 0, sizeof(*model));
    status = model_load(path, model);
    unlink(path);
    return status;
}

START_TEST(model_file__holds_a_tensor_a_line_and_comments)
{
    static const char text[] = "# shapes\n\n  fc.weight 10\t20 # the last layer\nconv 8 3 5 5\r\nbias 10#\nlast 7";
    char              path[32];
    model_t           model;

    assert_tool_ok(read_text(text, sizeof(text) - 1, path, &model));
    ck_assert_uint_eq(model.count, 4);
    ck_assert_uint_eq(model.elems, 200 + 600 + 10 + 7);
    ck_assert_str_eq(model.tensors[0].name, "fc.weight");
    ck_assert_uint_eq(model.tensors[0].dims[1], 20);
    ck_assert_uint_eq(model.tensors[1].num_dims, 4);
    ck_assert_str_eq(model.tensors[3].name, "last");
    model_free(&model);
}
END_TEST

START_TEST(model_file__what_is_wrong_is_told_with_line_and_column)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"a 3 4\nb 3 x4\n", ":2:5: a dim is a whole number"},
        {"a 3 4x\n", ":1:6: a dim is a whole number"},
        {"a -3\n", ":1:3: a dim is a whole number"},
        {"a 3 0\n", ":1:5: a dim is a whole number"},
        {"a 3.5\n", ":1:4: a dim is a whole number"},
        {"\n  a # 3 4\n", ":2:5: a tensor needs dims"},
        {"a\n", ":1:3: a tensor needs dims"},
        {"a 1 2\na 3\n", ":2:1: there was a tensor of this name"},
        {"a 1 1 1 1 1 1 1 1 1\n", ":1:19: a tensor has at most 8 dims"},
        {"a 1048576 1048576\n", ":1:11: the tensor has 2^40 elements or more"},
        {"a 99999999999999999999999\n", ":1:3: the tensor has 2^40 elements or more"},
        {"# nothing\n", ":2:1: no tensor before the end"},
        {"", ":1:1: no tensor before the end"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        char    path[32];
        char    words[128];
        model_t model;

        assert_tool_fails(read_text(cases[i].text, strlen(cases[i].text), path, &model), TOOL_USAGE, cases[i].words);
        snprintf(words, sizeof(words), "%s%s", path, cases[i].words);
        ck_assert_msg(strncmp(tool_last_error(), words, strlen(words)) == 0, "%s", tool_last_error());
        model_free(&model);
    }
}
END_TEST

START_TEST(model_file__binary_and_missing_files_are_told)
{
    static const char text[] = "a 3 4\nb\0 5\n";
    char              path[32];
    model_t           model;

    assert_tool_fails(read_text(text, sizeof(text) - 1, path, &model), TOOL_USAGE, ":2:2: a byte of 0");
    model_free(&model);
    assert_tool_fails(model_load("/nowhere/at/all", &model), TOOL_USAGE, "/nowhere/at/all: No such file");
    model_free(&model);
}
END_TEST

START_TEST(model__hash_tells_apart_names_dims_and_order)
{
    static const char *const texts[] = {"a 2 3\nb 6\n", "b 6\na 2 3\n", "a 3 2\nb 6\n", "c 2 3\nb 6\n", "a 6\nb 6\n"};
    uint64_t                 hashes[5];

    for (size_t i = 0; i < 5; ++i) {
        char    path[32];
        model_t model;

        assert_tool_ok(read_text(texts[i], strlen(texts[i]), path, &model));
        hashes[i] = model_hash(&model);
        model_free(&model);
        for (size_t j = 0; j < i; ++j) {
            ck_assert(hashes[i] != hashes[j]);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench_model");
    TCase *tcase = tcase_create("model");

    tcase_add_test(tcase, models__have_the_parameters_that_are_published);
    tcase_add_test(tcase, models__resnet18_has_the_matrices_of_the_paper);
    tcase_add_test(tcase, models__names_are_unique);
    tcase_add_test(tcase, model_file__holds_a_tensor_a_line_and_comments);
    tcase_add_test(tcase, model_file__what_is_wrong_is_told_with_line_and_column);
    tcase_add_test(tcase, model_file__binary_and_missing_files_are_told);
    tcase_add_test(tcase, model__hash_tells_apart_names_dims_and_order);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
