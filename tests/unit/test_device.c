/* The device room: opening, order between queues, waiting, buffers, programs, and choosing a device by words. */
#define _GNU_SOURCE /* setenv, mkdtemp */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "device/buffer.h"
#include "device/cl_device.h"
#include "device/device.h"
#include "device/enumerate.h"
#include "device/program.h"
#include "device/sources.h"
#include "support/suite.h"

enum { ELEMS = 1000 };

static const size_t GLOBAL[1] = {ELEMS};

/* ---- fixtures ---- */

static cl_device_id chosen_id;
static bool         has_out_of_order;
static bool         is_simulator; /* Oclgrind: computes within clFlush, and its compiler knows no #line */
static cl_context   context;

static void make_context(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    cl_int             result;

    assert_ok(psgd_device_find(NULL, &info));
    chosen_id        = info.device;
    has_out_of_order = info.has_out_of_order_queue != 0;
    is_simulator     = strcmp(info.platform_name, "Oclgrind") == 0;
    context          = clCreateContext(NULL, 1, &chosen_id, NULL, NULL, &result);
    ck_assert_int_eq(result, CL_SUCCESS);
}

static void drop_context(void)
{
    ck_assert_int_eq(clReleaseContext(context), CL_SUCCESS);
    unsetenv("PSGD_KERNEL_DIR");
    unsetenv("PSGD_DEVICE");
}

static cl_command_queue make_queue(cl_context queue_context, cl_device_id id, cl_command_queue_properties properties)
{
    cl_int           result;
    cl_command_queue queue = clCreateCommandQueue(queue_context, id, properties, &result);

    ck_assert_int_eq(result, CL_SUCCESS);
    return queue;
}

static psgd_device_t *open_device(void)
{
    psgd_device_t *device = NULL;

    assert_ok(psgd_device_open(context, chosen_id, NULL, NULL, &device));
    return device;
}

static psgd_patience_t patience_seconds(double warn, double fail)
{
    psgd_patience_t patience = {.warn_ns = psgd_seconds_to_ns(warn, 1.0), .fail_ns = psgd_seconds_to_ns(fail, 1.0)};

    return patience;
}

/* Counts the log lines, and keeps the last. */
typedef struct lines {
    int  count;
    char last[1024];
} lines_t;

static void keep_line(psgd_log_level_t level, const char *line, void *user)
{
    lines_t *lines = user;

    (void)level;
    ++lines->count;
    snprintf(lines->last, sizeof(lines->last), "%s", line);
}

/* A directory of kernel files for PSGD_KERNEL_DIR. */
typedef struct kernel_dir {
    char path[64];
} kernel_dir_t;

static kernel_dir_t make_kernel_dir(void)
{
    kernel_dir_t dir = {"/tmp/psgd_test_kernels_XXXXXX"};

    ck_assert_ptr_nonnull(mkdtemp(dir.path));
    ck_assert_int_eq(setenv("PSGD_KERNEL_DIR", dir.path, 1), 0);
    return dir;
}

static void file_path(const kernel_dir_t *dir, const char *file, char path[256])
{
    snprintf(path, 256, "%s/%s", dir->path, file);
}

static void write_bytes(const kernel_dir_t *dir, const char *file, const char *bytes, size_t count)
{
    char  path[256];
    FILE *stream;

    file_path(dir, file, path);
    stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, count, stream), count);
    ck_assert_int_eq(fclose(stream), 0);
}

static void write_kernel(const kernel_dir_t *dir, const char *file, const char *text)
{
    write_bytes(dir, file, text, strlen(text));
}

static void remove_kernel(const kernel_dir_t *dir, const char *file)
{
    char path[256];

    file_path(dir, file, path);
    ck_assert_int_eq(unlink(path), 0);
}

static void remove_kernel_dir(const kernel_dir_t *dir)
{
    ck_assert_int_eq(unsetenv("PSGD_KERNEL_DIR"), 0);
    ck_assert_int_eq(rmdir(dir->path), 0);
}

/* ---- opening ---- */

START_TEST(open__in_order_queue_is_used_directly)
{
    cl_command_queue queue  = make_queue(context, chosen_id, 0);
    psgd_device_t   *device = NULL;

    assert_ok(psgd_device_open(context, chosen_id, queue, NULL, &device));
    ck_assert_ptr_eq(psgd_device_queue(device), queue);
    ck_assert_ptr_eq(psgd_device_context(device), context);
    ck_assert_ptr_eq(psgd_device_id(device), chosen_id);
    assert_ok(psgd_device_fence(device));
    assert_ok(psgd_device_wait(device, "nothing"));
    psgd_device_close(device);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(open__null_queue_gives_a_queue_in_order_of_our_own)
{
    psgd_device_t              *device     = open_device();
    cl_command_queue_properties properties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;

    ck_assert_int_eq(
        clGetCommandQueueInfo(psgd_device_queue(device), CL_QUEUE_PROPERTIES, sizeof(properties), &properties, NULL),
        CL_SUCCESS);
    ck_assert(!(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE));
    assert_ok(psgd_device_fence(device));
    assert_ok(psgd_device_wait(device, "nothing"));
    psgd_device_close(device);
}
END_TEST

START_TEST(open__null_context_makes_one)
{
    psgd_device_t *device = NULL;
    psgd_view_t    view;

    assert_ok(psgd_device_open(NULL, chosen_id, NULL, NULL, &device));
    ck_assert_ptr_nonnull(psgd_device_context(device));
    ck_assert_ptr_ne(psgd_device_context(device), context);
    assert_ok(psgd_buffer_create(device, 64, "a buffer", &view));
    psgd_buffer_destroy(device, &view);
    assert_ok(psgd_device_wait(device, "zeroing"));
    psgd_device_close(device);
}
END_TEST

START_TEST(open__limits_are_those_of_the_device)
{
    psgd_device_t              *device = open_device();
    const psgd_device_limits_t *limits = psgd_device_limits(device);
    psgd_device_info_t          info   = psgd_device_describe(chosen_id);

    ck_assert_str_eq(limits->name, info.name);
    ck_assert_ptr_nonnull(strstr(limits->driver, info.driver_version));
    ck_assert_ptr_nonnull(strstr(limits->driver, info.platform_name));
    ck_assert_uint_eq(limits->max_allocation_bytes, info.max_allocation_bytes);
    ck_assert_uint_eq(limits->max_work_group_size, info.max_work_group_size);
    ck_assert_uint_eq(limits->compute_units, info.compute_units);
    ck_assert_int_eq(limits->is_cpu, info.kind == PSGD_DEVICE_CPU);
    psgd_device_close(device);
}
END_TEST

START_TEST(open__queue_of_another_context_is_refused)
{
    cl_int           result;
    cl_context       other  = clCreateContext(NULL, 1, &chosen_id, NULL, NULL, &result);
    cl_command_queue queue  = make_queue(other, chosen_id, 0);
    psgd_device_t   *device = NULL;

    assert_fails(psgd_device_open(context, chosen_id, queue, NULL, &device), PSGD_ERR_INVALID_ARGUMENT,
                 "the queue belongs to another context");
    assert_fails(psgd_device_open(NULL, chosen_id, queue, NULL, &device), PSGD_ERR_INVALID_ARGUMENT,
                 "without its context");
    ck_assert_ptr_null(device);
    clReleaseCommandQueue(queue);
    clReleaseContext(other);
}
END_TEST

/* Another device of the chosen one's platform; NULL where there is none. */
static cl_device_id find_sibling(void)
{
    psgd_device_info_t *infos  = NULL;
    size_t              count  = 0;
    cl_device_id        found  = NULL;
    psgd_device_info_t  chosen = psgd_device_describe(chosen_id);

    assert_ok(psgd_devices_enumerate(&infos, &count));
    for (size_t i = 0; i < count; ++i) {
        if ((infos[i].platform == chosen.platform) && (infos[i].device != chosen_id)) {
            found = infos[i].device;
        }
    }
    psgd_free(infos);
    return found;
}

START_TEST(open__queue_and_device_of_another_device_are_refused)
{
    cl_device_id     devices[2] = {chosen_id, find_sibling()};
    psgd_device_t   *device     = NULL;
    cl_context       both;
    cl_command_queue queue;
    cl_int           result;

    if (devices[1] == NULL) {
        return; /* one device alone: main() gives PoCL a second one */
    }
    assert_fails(psgd_device_open(context, devices[1], NULL, NULL, &device), PSGD_ERR_INVALID_ARGUMENT,
                 "does not belong to the context");
    both = clCreateContext(NULL, 2, devices, NULL, NULL, &result);
    ck_assert_int_eq(result, CL_SUCCESS);
    queue = make_queue(both, devices[1], 0);
    assert_fails(psgd_device_open(both, devices[0], queue, NULL, &device), PSGD_ERR_INVALID_ARGUMENT,
                 "the queue belongs to another device");
    ck_assert_ptr_null(device);
    clReleaseCommandQueue(queue);
    clReleaseContext(both);
}
END_TEST

START_TEST(open__null_device_is_refused)
{
    psgd_device_t *device = NULL;

    assert_fails(psgd_device_open(context, NULL, NULL, NULL, &device), PSGD_ERR_INVALID_ARGUMENT, "the device is NULL");
    psgd_device_close(NULL);
}
END_TEST

/* ---- order and waiting ---- */

/* A user event that holds back all that waits for it. */
static cl_event make_gate(void)
{
    cl_int   result;
    cl_event gate = clCreateUserEvent(context, &result);

    ck_assert_int_eq(result, CL_SUCCESS);
    return gate;
}

static void open_gate(cl_event gate)
{
    ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    clReleaseEvent(gate);
}

START_TEST(fence__what_the_caller_enqueued_out_of_order_comes_first)
{
    const cl_uint    pattern = 42;
    cl_uint          word    = 0;
    psgd_device_t   *device  = NULL;
    cl_command_queue queue;
    psgd_view_t      view;
    cl_event         gate;

    if (!has_out_of_order || is_simulator) {
        return;
    }
    queue = make_queue(context, chosen_id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    gate  = make_gate();
    assert_ok(psgd_device_open(context, chosen_id, queue, NULL, &device));
    ck_assert_ptr_ne(psgd_device_queue(device), queue);
    assert_ok(psgd_buffer_create(device, sizeof(pattern), "a buffer", &view));
    assert_ok(psgd_device_wait(device, "zeroing"));

    ck_assert_int_eq(
        clEnqueueFillBuffer(queue, view.mem, &pattern, sizeof(pattern), 0, sizeof(pattern), 1, &gate, NULL),
        CL_SUCCESS);
    assert_ok(psgd_device_fence(device));
    assert_ok(psgd_buffer_enqueue_read(device, view, &word, sizeof(word)));
    open_gate(gate);
    assert_ok(psgd_device_wait(device, "reading"));
    ck_assert_uint_eq(word, pattern);

    psgd_buffer_destroy(device, &view);
    psgd_device_close(device);
    clReleaseCommandQueue(queue);
}
END_TEST

/* Waits for a queue that a gate holds back: one warning, then an error that says what, where and for how long. */
static void expect_timeout(cl_command_queue queue)
{
    lines_t        lines  = {0, ""};
    psgd_log_t     log    = psgd_log_open(keep_line, &lines, PSGD_LOG_WARN);
    psgd_device_t *device = NULL;
    cl_event       gate   = make_gate();

    assert_ok(psgd_device_open(context, chosen_id, queue, &log, &device));
    psgd_device_set_patience(device, patience_seconds(0.05, 0.25));
    ck_assert_int_eq(clEnqueueMarkerWithWaitList(queue, 1, &gate, NULL), CL_SUCCESS);
    assert_ok(psgd_device_fence(device));
    assert_fails(psgd_device_wait(device, "compute_p"), PSGD_ERR_TIMEOUT, "compute_p did not finish on device");
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), psgd_device_limits(device)->name));
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "within 0.25 s"));
    ck_assert_int_eq(lines.count, 1);
    ck_assert_ptr_nonnull(strstr(lines.last, "compute_p has not finished"));

    open_gate(gate);
    psgd_device_set_patience(device, patience_seconds(30.0, 60.0));
    assert_ok(psgd_device_wait(device, "compute_p"));
    psgd_device_close(device);
}

START_TEST(wait__blocked_out_of_order_queue_times_out)
{
    cl_command_queue queue;

    if (!has_out_of_order || is_simulator) {
        return;
    }
    queue = make_queue(context, chosen_id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    expect_timeout(queue);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(wait__blocked_in_order_queue_times_out)
{
    cl_command_queue queue;

    if (is_simulator) {
        return;
    }
    queue = make_queue(context, chosen_id, 0);
    expect_timeout(queue);
    clReleaseCommandQueue(queue);
}
END_TEST

/* A gate in the queue, and a wait that gives up on it. */
static cl_event wait_in_vain(psgd_device_t *device, cl_command_queue queue)
{
    cl_event gate = make_gate();

    psgd_device_set_patience(device, patience_seconds(10.0, 0.02));
    ck_assert_int_eq(clEnqueueMarkerWithWaitList(queue, 1, &gate, NULL), CL_SUCCESS);
    assert_fails(psgd_device_wait(device, "compute_q"), PSGD_ERR_TIMEOUT, "compute_q");
    return gate;
}

/* Closes the device while a gate is closed, which opens later. */
static void close_while_blocked(psgd_device_t *device, cl_command_queue queue)
{
    cl_event gate = wait_in_vain(device, queue);

    psgd_device_close(device);
    open_gate(gate);
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
}

START_TEST(wait__may_time_out_again_after_what_timed_out_has_finished)
{
    psgd_device_t   *device = NULL;
    cl_command_queue queue;

    if (is_simulator) {
        return;
    }
    queue = make_queue(context, chosen_id, 0);
    assert_ok(psgd_device_open(context, chosen_id, queue, NULL, &device));
    open_gate(wait_in_vain(device, queue));
    psgd_device_set_patience(device, patience_seconds(30.0, 60.0));
    assert_ok(psgd_device_wait(device, "compute_q"));

    close_while_blocked(device, queue);
    clReleaseCommandQueue(queue);
}
END_TEST

START_TEST(close__returns_while_work_is_still_blocked)
{
    psgd_device_t   *device = NULL;
    cl_command_queue queue;

    if (is_simulator) {
        return;
    }
    queue = make_queue(context, chosen_id, 0);
    assert_ok(psgd_device_open(context, chosen_id, queue, NULL, &device));
    close_while_blocked(device, queue);
    clReleaseCommandQueue(queue);
}
END_TEST

/* ---- buffers ---- */

START_TEST(buffer__is_zero_and_counted)
{
    psgd_device_t *device = open_device();
    psgd_view_t    view;
    unsigned char  bytes[ELEMS + 3];

    memset(bytes, 0xAB, sizeof(bytes));
    ck_assert_uint_eq(psgd_device_bytes(device), 0);
    assert_ok(psgd_buffer_create(device, sizeof(bytes), "an odd buffer", &view));
    ck_assert_uint_ge(psgd_device_bytes(device), sizeof(bytes));
    ck_assert_uint_eq(view.offset_bytes, 0);
    assert_ok(psgd_buffer_enqueue_read(device, view, bytes, sizeof(bytes)));
    assert_ok(psgd_device_wait(device, "reading"));
    for (size_t i = 0; i < sizeof(bytes); ++i) {
        ck_assert_int_eq(bytes[i], 0);
    }
    psgd_buffer_destroy(device, &view);
    ck_assert_ptr_null(view.mem);
    psgd_buffer_destroy(device, &view);
    ck_assert_uint_eq(psgd_device_bytes(device), 0);
    psgd_device_close(device);
}
END_TEST

START_TEST(buffer__of_no_bytes_is_one_word)
{
    psgd_device_t *device = open_device();
    psgd_view_t    view;
    uint32_t       word = 7;

    assert_ok(psgd_buffer_create(device, 0, "an empty buffer", &view));
    assert_ok(psgd_buffer_enqueue_read(device, view, &word, sizeof(word)));
    assert_ok(psgd_device_wait(device, "reading"));
    ck_assert_uint_eq(word, 0);
    psgd_buffer_destroy(device, &view);
    psgd_device_close(device);
}
END_TEST

START_TEST(buffer__write_copy_zero_and_read_keep_to_their_bytes)
{
    psgd_device_t *device = open_device();
    psgd_view_t    a, b;
    uint32_t       words[ELEMS], back[ELEMS];

    for (uint32_t i = 0; i < ELEMS; ++i) {
        words[i] = i + 1;
    }
    assert_ok(psgd_buffer_create(device, sizeof(words), "a", &a));
    assert_ok(psgd_buffer_create(device, sizeof(words), "b", &b));
    assert_ok(psgd_buffer_enqueue_write(device, a, words, sizeof(words)));
    /* b = 100 words of 0, a[0 .. 800), 100 words of 0; of these b[200 .. 300) is zeroed again */
    assert_ok(psgd_buffer_enqueue_copy(device, a, psgd_view_at(b, 400), 3200));
    assert_ok(psgd_buffer_enqueue_zero(device, psgd_view_at(b, 800), 400));
    assert_ok(psgd_buffer_enqueue_read(device, psgd_view_at(b, 4), back + 1, sizeof(back) - 4));
    assert_ok(psgd_device_wait(device, "transfers"));
    for (uint32_t i = 1; i < ELEMS; ++i) {
        bool is_copied = (i >= 100) && (i < 900) && !((i >= 200) && (i < 300));

        ck_assert_uint_eq(back[i], is_copied ? i - 99 : 0);
    }
    psgd_buffer_destroy(device, &a);
    psgd_buffer_destroy(device, &b);
    psgd_device_close(device);
}
END_TEST

START_TEST(buffer__above_the_largest_allocation_is_refused_with_words)
{
    psgd_device_t *device = open_device();
    psgd_view_t    view   = {NULL, 0};
    size_t         most   = (size_t)psgd_device_limits(device)->max_allocation_bytes;

    assert_fails(psgd_buffer_create(device, most + 1, "the error memory", &view), PSGD_ERR_DEVICE_MEMORY,
                 "the error memory needs one buffer of");
    assert_fails(psgd_buffer_create(device, SIZE_MAX, "the error memory", &view), PSGD_ERR_DEVICE_MEMORY,
                 psgd_device_limits(device)->name);
    ck_assert_ptr_null(view.mem);
    ck_assert_uint_eq(psgd_device_bytes(device), 0);
    psgd_device_close(device);
}
END_TEST

START_TEST(buffer__transfer_behind_its_end_is_an_error)
{
    psgd_device_t *device = open_device();
    psgd_view_t    view;
    uint32_t       words[2] = {0, 0};

    assert_ok(psgd_buffer_create(device, 4, "a word", &view));
    assert_fails(psgd_buffer_enqueue_read(device, view, words, 8), PSGD_ERR_OPENCL, "clEnqueueReadBuffer failed");
    assert_ok(psgd_device_wait(device, "zeroing"));
    psgd_buffer_destroy(device, &view);
    psgd_device_close(device);
}
END_TEST

/* ---- programs ---- */

static const char KERNEL_SCALE[] =
    "#include \"scale.clh\"\n"
    "__kernel void scale_all(__global uint *out, ulong offset, uint factor, __local uint *s)\n"
    "{\n"
    "    size_t i = get_global_id(0);\n"
    "    s[get_local_id(0)] = scale((uint)i, factor) + EXTRA;\n"
    "    out[offset / 4 + i] = s[get_local_id(0)];\n"
    "}\n";

START_TEST(program__kernel_dir_include_options_and_arguments_all_arrive)
{
    kernel_dir_t    dir     = make_kernel_dir();
    psgd_device_t  *device  = open_device();
    psgd_program_t *program = NULL;
    psgd_kernel_t  *kernel  = NULL;
    psgd_view_t     view;
    uint32_t        back[ELEMS + 1];
    cl_ulong        offset   = 4;
    cl_uint         factor   = 3;
    const size_t    local[1] = {10};

    write_kernel(&dir, "scale.clh", "uint scale(uint x, uint factor) { return x * factor; }");
    write_kernel(&dir, "scale.cl", KERNEL_SCALE);
    assert_ok(psgd_program_get(device, "scale.cl", "-DEXTRA=5", &program));
    assert_ok(psgd_kernel_create(program, "scale_all", &kernel));
    ck_assert_uint_ge(psgd_kernel_max_work_group_size(kernel), 1);
    assert_ok(psgd_buffer_create(device, sizeof(back), "the output", &view));
    {
        const psgd_arg_t args[] = {PSGD_ARG_MEM(view), PSGD_ARG(offset), PSGD_ARG(factor), PSGD_ARG_LOCAL(40)};

        assert_ok(psgd_kernel_enqueue(device, kernel, 1, GLOBAL, local, args, 4));
    }
    assert_ok(psgd_buffer_enqueue_read(device, view, back, sizeof(back)));
    assert_ok(psgd_device_wait(device, "scale_all"));
    ck_assert_uint_eq(back[0], 0);
    for (uint32_t i = 0; i < ELEMS; ++i) {
        ck_assert_uint_eq(back[i + 1], 3 * i + 5);
    }
    psgd_buffer_destroy(device, &view);
    psgd_kernel_destroy(kernel);
    psgd_device_close(device);
    remove_kernel(&dir, "scale.cl");
    remove_kernel(&dir, "scale.clh");
    remove_kernel_dir(&dir);
}
END_TEST

START_TEST(program__is_compiled_once_for_the_same_file_options_and_text)
{
    kernel_dir_t    dir    = make_kernel_dir();
    psgd_device_t  *device = open_device();
    psgd_program_t *first = NULL, *again = NULL, *with_option = NULL, *changed = NULL;

    write_kernel(&dir, "one.cl", "__kernel void one(__global uint *out) { *out = 1; }\n");
    assert_ok(psgd_program_get(device, "one.cl", "", &first));
    assert_ok(psgd_program_get(device, "one.cl", "-DEXTRA=5", &with_option));
    assert_ok(psgd_program_get(device, "one.cl", "", &again));
    ck_assert_ptr_eq(again, first);
    ck_assert_ptr_ne(with_option, first);
    write_kernel(&dir, "one.cl", "__kernel void one(__global uint *out) { *out = 2; }\n");
    assert_ok(psgd_program_get(device, "one.cl", "", &changed));
    ck_assert_ptr_ne(changed, first);
    psgd_device_close(device);
    remove_kernel(&dir, "one.cl");
    remove_kernel_dir(&dir);
}
END_TEST

START_TEST(program__build_error_names_file_line_device_and_reason)
{
    kernel_dir_t    dir     = make_kernel_dir();
    psgd_device_t  *device  = open_device();
    psgd_program_t *program = NULL;

    write_kernel(&dir, "wrong.clh", "// line 1\n// line 2\nundeclared_type x;\n");
    write_kernel(&dir, "wrong.cl", "// line 1\n#include \"wrong.clh\"\n__kernel void k(void) { }\n");
    assert_fails(psgd_program_get(device, "wrong.cl", "", &program), PSGD_ERR_BUILD, "cannot compile wrong.cl");
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), psgd_device_limits(device)->name));
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "undeclared_type"));
    ck_assert(is_simulator || strstr(psgd_last_error(), "wrong.clh:3") != NULL);

    write_kernel(&dir, "wrong.clh", "// fine now\n");
    write_kernel(&dir, "wrong.cl",
                 "#include \"wrong.clh\"\n// line 2\n__kernel void k(void) { undeclared_name = 1; }\n");
    assert_fails(psgd_program_get(device, "wrong.cl", "", &program), PSGD_ERR_BUILD, "undeclared_name");
    ck_assert(is_simulator || strstr(psgd_last_error(), "wrong.cl:3") != NULL);
    ck_assert_ptr_null(program);
    psgd_device_close(device);
    remove_kernel(&dir, "wrong.cl");
    remove_kernel(&dir, "wrong.clh");
    remove_kernel_dir(&dir);
}
END_TEST

START_TEST(program__unreadable_kernel_files_are_errors_with_words)
{
    kernel_dir_t    dir     = make_kernel_dir();
    psgd_device_t  *device  = open_device();
    psgd_program_t *program = NULL;

    assert_fails(psgd_program_get(device, "absent.cl", "", &program), PSGD_ERR_BUILD, "cannot open kernel file");
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), dir.path));
    write_kernel(&dir, "a.cl", "// line 1\n  #  include  \"absent.clh\"\n");
    assert_fails(psgd_program_get(device, "a.cl", "", &program), PSGD_ERR_BUILD, "a.cl:2: cannot open");
    write_kernel(&dir, "a.cl", "#include \"a.cl\"\n");
    assert_fails(psgd_program_get(device, "a.cl", "", &program), PSGD_ERR_BUILD, "does it include itself?");
    write_bytes(&dir, "a.cl", "int\0", 4);
    assert_fails(psgd_program_get(device, "a.cl", "", &program), PSGD_ERR_BUILD, "zero byte");
    remove_kernel(&dir, "a.cl");
    remove_kernel_dir(&dir);

    assert_fails(psgd_program_get(device, "absent.cl", "", &program), PSGD_ERR_BUILD,
                 "there is no kernel file 'absent.cl'");
    ck_assert_ptr_null(program);
    psgd_device_close(device);
}
END_TEST

START_TEST(program__unknown_kernel_and_wrong_argument_name_the_kernel)
{
    kernel_dir_t    dir     = make_kernel_dir();
    psgd_device_t  *device  = open_device();
    psgd_program_t *program = NULL;
    psgd_kernel_t  *kernel  = NULL;
    cl_uint         value   = 1;

    write_kernel(&dir, "one.cl", "__kernel void one(__global uint *out, uint x) { out[get_global_id(0)] = x; }\n");
    assert_ok(psgd_program_get(device, "one.cl", "", &program));
    assert_fails(psgd_kernel_create(program, "two", &kernel), PSGD_ERR_OPENCL, "kernel two of one.cl");
    ck_assert_ptr_null(kernel);
    assert_ok(psgd_kernel_create(program, "one", &kernel));
    {
        const psgd_arg_t args[] = {PSGD_ARG(value), PSGD_ARG(value), PSGD_ARG(value)};

        assert_fails(psgd_kernel_enqueue(device, kernel, 1, GLOBAL, NULL, args, 3), PSGD_ERR_OPENCL,
                     "kernel one, argument");
    }
    psgd_kernel_destroy(kernel);
    psgd_kernel_destroy(NULL);
    psgd_device_close(device);
    remove_kernel(&dir, "one.cl");
    remove_kernel_dir(&dir);
}
END_TEST

/* The embedded kernels are the files of cl/, byte for byte. */
START_TEST(sources__embedded_kernels_equal_the_files)
{
    ck_assert_ptr_nonnull(psgd_source_name(0));
    for (size_t i = 0; psgd_source_name(i) != NULL; ++i) {
        char *embedded = NULL;
        char *on_disk  = NULL;

        assert_ok(psgd_source_load(psgd_source_name(i), NULL, &embedded));
        assert_ok(psgd_source_load(psgd_source_name(i), PSGD_TEST_KERNEL_DIR, &on_disk));
        ck_assert_uint_gt(strlen(embedded), 100);
        ck_assert_msg(strcmp(embedded, on_disk) == 0, "%s: the file is not what was built in", psgd_source_name(i));
        psgd_free(embedded);
        psgd_free(on_disk);
    }
}
END_TEST

START_TEST(sources__nested_includes_keep_line_numbers)
{
    kernel_dir_t dir  = make_kernel_dir();
    char        *text = NULL;

    write_kernel(&dir, "c.clh", "c1");
    write_kernel(&dir, "b.clh", "b1\n#include \"c.clh\"\nb3\n");
    write_kernel(&dir, "a.cl", "for (;;) [x] ${y} @z@;\n#include \"b.clh\"\n// #include \"no.clh\"\na4");
    assert_ok(psgd_source_load("a.cl", dir.path, &text));
    ck_assert_str_eq(text, "#line 1 \"a.cl\"\nfor (;;) [x] ${y} @z@;\n"
                           "#line 1 \"b.clh\"\nb1\n"
                           "#line 1 \"c.clh\"\nc1\n"
                           "#line 3 \"b.clh\"\nb3\n"
                           "#line 3 \"a.cl\"\n// #include \"no.clh\"\na4\n");
    psgd_free(text);
    remove_kernel(&dir, "a.cl");
    remove_kernel(&dir, "b.clh");
    remove_kernel(&dir, "c.clh");
    remove_kernel_dir(&dir);
}
END_TEST

/* ---- OpenCL errors ---- */

START_TEST(cl_check__maps_memory_errors_and_names_all)
{
    assert_ok(psgd_cl_check(CL_SUCCESS, "clFoo", "device"));
    assert_fails(psgd_cl_check(CL_MEM_OBJECT_ALLOCATION_FAILURE, "clFoo", "dev"), PSGD_ERR_DEVICE_MEMORY,
                 "clFoo failed: CL_MEM_OBJECT_ALLOCATION_FAILURE (-4) on device 'dev'");
    assert_fails(psgd_cl_check(CL_OUT_OF_RESOURCES, "clFoo", "dev"), PSGD_ERR_DEVICE_MEMORY,
                 "CL_OUT_OF_RESOURCES (-5)");
    assert_fails(psgd_cl_check(CL_OUT_OF_HOST_MEMORY, "clFoo", "dev"), PSGD_ERR_HOST_MEMORY,
                 "CL_OUT_OF_HOST_MEMORY (-6)");
    assert_fails(psgd_cl_check(CL_INVALID_BUFFER_SIZE, "clFoo", "dev"), PSGD_ERR_DEVICE_MEMORY,
                 "CL_INVALID_BUFFER_SIZE (-61)");
    assert_fails(psgd_cl_check(CL_INVALID_KERNEL_ARGS, "clFoo", "dev"), PSGD_ERR_OPENCL,
                 "CL_INVALID_KERNEL_ARGS (-52)");
    assert_fails(psgd_cl_check(-9999, "clFoo", "dev"), PSGD_ERR_OPENCL, "(-9999)");
    ck_assert_str_eq(psgd_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
}
END_TEST

/* OpenCL 1.2 has -1 to -19 and -30 to -68. */
START_TEST(cl_error__every_error_of_opencl_1_2_has_a_name_of_its_own)
{
    const char *unknown = psgd_cl_error_name(-9999);

    for (cl_int a = 0; a >= -69; --a) {
        bool is_known = (a >= -19) || ((a <= -30) && (a >= -68));

        ck_assert_msg((strcmp(psgd_cl_error_name(a), unknown) != 0) == is_known, "%d is %s", a, psgd_cl_error_name(a));
        for (cl_int b = 0; is_known && (b > a); --b) {
            ck_assert_str_ne(psgd_cl_error_name(a), psgd_cl_error_name(b));
        }
    }
}
END_TEST

/* ---- listing and choosing ---- */

START_TEST(list__counts_and_fills_as_far_as_there_is_room)
{
    psgd_device_info_t infos[16];
    size_t             count = 0, again = 0;

    for (size_t i = 0; i < 16; ++i) {
        infos[i] = (psgd_device_info_t)PSGD_DEVICE_INFO_INIT;
    }
    assert_ok(psgd_device_list(NULL, 0, &count));
    ck_assert_uint_ge(count, 1);
    assert_ok(psgd_device_list(infos, 16, &again));
    ck_assert_uint_eq(again, count);
    for (size_t i = 0; i < count && i < 16; ++i) {
        ck_assert_uint_eq(infos[i].struct_size, sizeof(infos[i]));
        ck_assert_uint_eq(infos[i].index, i);
        ck_assert_ptr_nonnull(infos[i].device);
        ck_assert_int_ne(infos[i].name[0], '\0');
        ck_assert_int_ne(infos[i].platform_name[0], '\0');
        ck_assert_int_eq(infos[i].is_usable, infos[i].reason[0] == '\0');
        ck_assert_uint_gt(infos[i].max_allocation_bytes, 0);
        ck_assert_uint_ge(infos[i].base_alignment_bytes, 64);
    }
    infos[0].name[0] = '\0';
    infos[1]         = (psgd_device_info_t)PSGD_DEVICE_INFO_INIT;
    assert_ok(psgd_device_list(infos, 1, &again));
    ck_assert_int_ne(infos[0].name[0], '\0');
    ck_assert_ptr_null(infos[1].device);
}
END_TEST

START_TEST(list__wrong_arguments_are_refused)
{
    psgd_device_info_t infos[2] = {PSGD_DEVICE_INFO_INIT, PSGD_DEVICE_INFO_INIT};
    size_t             count    = 99;

    assert_fails(psgd_device_list(NULL, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "count_p is NULL");
    assert_fails(psgd_device_list(NULL, 1, &count), PSGD_ERR_INVALID_ARGUMENT, "infos is NULL");
    infos[1].struct_size = 0;
    assert_fails(psgd_device_list(infos, 2, &count), PSGD_ERR_INVALID_ARGUMENT, "infos[1].struct_size is 0");
    infos[0].struct_size = SIZE_MAX;
    assert_fails(psgd_device_list(infos, 1, &count), PSGD_ERR_INVALID_ARGUMENT, "PSGD_DEVICE_INFO_INIT");
    infos[0].struct_size = 16;
    assert_fails(psgd_device_list(infos, 1, &count), PSGD_ERR_INVALID_ARGUMENT, "infos[0] has struct_size 16");
    ck_assert_uint_eq(count, 99);
    ck_assert_ptr_null(infos[0].device);
    assert_fails(psgd_device_find(NULL, NULL), PSGD_ERR_INVALID_ARGUMENT, "info_p is NULL");
    assert_fails(psgd_device_find(NULL, &infos[0]), PSGD_ERR_INVALID_ARGUMENT, "struct_size");
}
END_TEST

/* A struct of a newer header: the fields that this library knows are written, those behind stay, and the stride is its. */
START_TEST(list__structs_of_a_newer_program_keep_their_stride)
{
    struct {
        psgd_device_info_t info;
        uint64_t           added;
    } newer[2]   = {{PSGD_DEVICE_INFO_INIT, 11}, {PSGD_DEVICE_INFO_INIT, 22}};
    size_t count = 0;

    newer[0].info.struct_size = newer[1].info.struct_size = sizeof(newer[0]);
    assert_ok(psgd_device_list(&newer[0].info, 2, &count));
    for (uint32_t i = 0; i < 2 && i < count; ++i) {
        ck_assert_uint_eq(newer[i].info.struct_size, sizeof(newer[i]));
        ck_assert_uint_eq(newer[i].info.index, i);
        ck_assert_ptr_nonnull(newer[i].info.device);
        ck_assert_uint_eq(newer[i].added, 11 * (i + 1));
    }
}
END_TEST

START_TEST(find__index_and_platform_device_and_name_find_the_same)
{
    psgd_device_info_t first = PSGD_DEVICE_INFO_INIT;
    psgd_device_info_t found = PSGD_DEVICE_INFO_INIT;
    char               words[32];

    assert_ok(psgd_device_find("", &first));
    snprintf(words, sizeof(words), "%u", first.index);
    assert_ok(psgd_device_find(words, &found));
    ck_assert_ptr_eq(found.device, first.device);
    snprintf(words, sizeof(words), "%u:%u", first.platform_index, first.device_index);
    assert_ok(psgd_device_find(words, &found));
    ck_assert_ptr_eq(found.device, first.device);
    assert_ok(psgd_device_find(first.name, &found));
    ck_assert_str_eq(found.name, first.name);

    ck_assert_int_eq(setenv("PSGD_DEVICE", "no such device", 1), 0);
    assert_fails(psgd_device_find(NULL, &found), PSGD_ERR_NO_DEVICE, "no usable OpenCL device fits 'no such device'");
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), first.name));
    assert_fails(psgd_device_find("999999999999999999999", &found), PSGD_ERR_NO_DEVICE, "there are: 0 (0:0)");
    assert_fails(psgd_device_find("7:99", &found), PSGD_ERR_NO_DEVICE, "fits '7:99'");
}
END_TEST

/* Three devices that need no driver: a GPU that cannot be used, a CPU, a second GPU. */
static void make_imaginary(psgd_device_info_t infos[3])
{
    static const struct {
        const char        *name, *vendor, *platform, *version;
        psgd_device_kind_t kind;
        uint32_t           platform_index, device_index;
        int                is_usable;
    } ROWS[3] = {{"Radeon RX 580", "AMD", "rusticl", "OpenCL 3.0", PSGD_DEVICE_GPU, 0, 0, 0},
                 {"pthread-zen2", "AuthenticAMD", "Portable Computing Language", "OpenCL 3.0 PoCL HSTR",
                  PSGD_DEVICE_CPU, 2, 0, 1},
                 {"Arc A770", "Intel Corporation", "Intel OpenCL", "OpenCL 3.0 NEO", PSGD_DEVICE_GPU, 2, 1, 1}};

    for (uint32_t i = 0; i < 3; ++i) {
        infos[i]                = (psgd_device_info_t)PSGD_DEVICE_INFO_INIT;
        infos[i].index          = i;
        infos[i].platform_index = ROWS[i].platform_index;
        infos[i].device_index   = ROWS[i].device_index;
        infos[i].kind           = ROWS[i].kind;
        infos[i].is_usable      = ROWS[i].is_usable;
        snprintf(infos[i].name, sizeof(infos[i].name), "%s", ROWS[i].name);
        snprintf(infos[i].vendor, sizeof(infos[i].vendor), "%s", ROWS[i].vendor);
        snprintf(infos[i].device_version, sizeof(infos[i].device_version), "%s", ROWS[i].version);
        snprintf(infos[i].platform_name, sizeof(infos[i].platform_name), "%s", ROWS[i].platform);
        snprintf(infos[i].reason, sizeof(infos[i].reason), "%s", ROWS[i].is_usable ? "" : "no compiler");
    }
}

START_TEST(choose__words_choose_among_usable_devices)
{
    static const struct {
        const char *which;
        size_t      chosen;
    } ROWS[] = {{NULL, 2}, {"", 2},        {"gpu", 2},      {"GPU", 2}, {"cpu", 1}, {"1", 1},
                {"2", 2},  {"2:0", 1},     {"2:1", 2},      {"arc", 2}, {"AMD", 1}, {"portable computing", 1},
                {"a7", 2}, {"intel c", 2}, {"pthread-", 1}, {"pocl", 1}};
    psgd_device_info_t infos[3];

    make_imaginary(infos);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); ++i) {
        size_t chosen = 99;

        assert_ok(psgd_device_choose(infos, 3, ROWS[i].which, &chosen));
        ck_assert_uint_eq(chosen, ROWS[i].chosen);
    }
}
END_TEST

START_TEST(choose__without_a_usable_gpu_takes_the_first_usable_device)
{
    psgd_device_info_t infos[3];
    size_t             chosen = 99;

    make_imaginary(infos);
    infos[2].is_usable = 0;
    assert_ok(psgd_device_choose(infos, 3, NULL, &chosen));
    ck_assert_uint_eq(chosen, 1);
    infos[1].is_usable = 0;
    assert_fails(psgd_device_choose(infos, 3, NULL, &chosen), PSGD_ERR_NO_DEVICE, "no usable OpenCL device fits 'any'");
}
END_TEST

START_TEST(choose__what_does_not_fit_is_named)
{
    psgd_device_info_t infos[3];
    size_t             chosen = 99;

    make_imaginary(infos);
    assert_fails(psgd_device_choose(infos, 3, "0", &chosen), PSGD_ERR_DEVICE_UNSUITABLE, "no compiler");
    assert_fails(psgd_device_choose(infos, 3, "0:0", &chosen), PSGD_ERR_DEVICE_UNSUITABLE, "Radeon RX 580");
    assert_fails(psgd_device_choose(infos, 3, "radeon", &chosen), PSGD_ERR_NO_DEVICE, "not usable: no compiler");
    assert_fails(psgd_device_choose(infos, 3, "accelerator", &chosen), PSGD_ERR_NO_DEVICE, "2 (2:1) 'Arc A770'");
    assert_fails(psgd_device_choose(infos, 3, "1:0", &chosen), PSGD_ERR_NO_DEVICE, "fits '1:0'");
    assert_fails(psgd_device_choose(infos, 3, "3", &chosen), PSGD_ERR_NO_DEVICE, "fits '3'");
    assert_fails(psgd_device_choose(infos, 0, NULL, &chosen), PSGD_ERR_NO_DEVICE, "pocl-opencl-icd");
    ck_assert_uint_eq(chosen, 99);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite    = suite_create("device");
    TCase *open     = tcase_create("open");
    TCase *wait     = tcase_create("wait");
    TCase *buffers  = tcase_create("buffers");
    TCase *programs = tcase_create("programs");
    TCase *choosing = tcase_create("choosing");
    TCase *cases[]  = {open, wait, buffers, programs, choosing};

    tcase_add_test(open, open__in_order_queue_is_used_directly);
    tcase_add_test(open, open__null_queue_gives_a_queue_in_order_of_our_own);
    tcase_add_test(open, open__null_context_makes_one);
    tcase_add_test(open, open__limits_are_those_of_the_device);
    tcase_add_test(open, open__queue_of_another_context_is_refused);
    tcase_add_test(open, open__queue_and_device_of_another_device_are_refused);
    tcase_add_test(open, open__null_device_is_refused);
    tcase_add_test(wait, fence__what_the_caller_enqueued_out_of_order_comes_first);
    tcase_add_test(wait, wait__blocked_out_of_order_queue_times_out);
    tcase_add_test(wait, wait__blocked_in_order_queue_times_out);
    tcase_add_test(wait, wait__may_time_out_again_after_what_timed_out_has_finished);
    tcase_add_test(wait, close__returns_while_work_is_still_blocked);
    tcase_add_test(buffers, buffer__is_zero_and_counted);
    tcase_add_test(buffers, buffer__of_no_bytes_is_one_word);
    tcase_add_test(buffers, buffer__write_copy_zero_and_read_keep_to_their_bytes);
    tcase_add_test(buffers, buffer__above_the_largest_allocation_is_refused_with_words);
    tcase_add_test(buffers, buffer__transfer_behind_its_end_is_an_error);
    tcase_add_test(programs, program__kernel_dir_include_options_and_arguments_all_arrive);
    tcase_add_test(programs, program__is_compiled_once_for_the_same_file_options_and_text);
    tcase_add_test(programs, program__build_error_names_file_line_device_and_reason);
    tcase_add_test(programs, program__unreadable_kernel_files_are_errors_with_words);
    tcase_add_test(programs, program__unknown_kernel_and_wrong_argument_name_the_kernel);
    tcase_add_test(programs, sources__embedded_kernels_equal_the_files);
    tcase_add_test(programs, sources__nested_includes_keep_line_numbers);
    tcase_add_test(programs, cl_check__maps_memory_errors_and_names_all);
    tcase_add_test(programs, cl_error__every_error_of_opencl_1_2_has_a_name_of_its_own);
    tcase_add_test(choosing, list__counts_and_fills_as_far_as_there_is_room);
    tcase_add_test(choosing, list__wrong_arguments_are_refused);
    tcase_add_test(choosing, list__structs_of_a_newer_program_keep_their_stride);
    tcase_add_test(choosing, find__index_and_platform_device_and_name_find_the_same);
    tcase_add_test(choosing, choose__words_choose_among_usable_devices);
    tcase_add_test(choosing, choose__without_a_usable_gpu_takes_the_first_usable_device);
    tcase_add_test(choosing, choose__what_does_not_fit_is_named);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        tcase_add_checked_fixture(cases[i], make_context, drop_context);
        tcase_set_timeout(cases[i], 60);
        suite_add_tcase(suite, cases[i]);
    }
    return suite;
}

int main(void)
{
    /* Two devices of PoCL's, so that there is a wrong one to pass. */
    if (setenv("POCL_DEVICES", "pthread pthread", 0) != 0) {
        return EXIT_FAILURE;
    }
    return psgd_run_suite(make_suite());
}
