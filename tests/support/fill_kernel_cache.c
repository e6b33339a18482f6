/* Compiles the kernels that most tests need, by using the library as a program would: a few steps over matrices that are
 * alike, tall, wide and square, and over vectors. Runs before the tests, so that they find the kernels in the cache. */
#include <stdio.h>
#include <stdlib.h>

#include <psgd/psgd.h>

enum { NUM_TENSORS = 6, NUM_STEPS = 2, MAX_ELEMS = 96 * 96 };

static const struct {
    const char *name;
    uint32_t    num_dims;
    uint64_t    dims[2];
} TENSORS[NUM_TENSORS] = {
    { "alike.0", 2, { 64, 48 } }, { "alike.1", 2, { 64, 48 } },  { "tall", 2, { 96, 40 } },
    { "wide", 2, { 40, 96 } },    { "square", 2, { 96, 96 } }, { "bias", 1, { 64, 0 } },
};

static void describe_tensors(psgd_tensor_t *tensors)
{
    for (int i = 0; i < NUM_TENSORS; i++) {
        tensors[i]          = (psgd_tensor_t)PSGD_TENSOR_INIT;
        tensors[i].name     = TENSORS[i].name;
        tensors[i].num_dims = TENSORS[i].num_dims;
        tensors[i].dims[0]  = TENSORS[i].dims[0];
        tensors[i].dims[1]  = TENSORS[i].dims[1];
    }
}

/* Any finite numbers do. */
static void fill_gradients(float grads[NUM_TENSORS][MAX_ELEMS])
{
    for (int i = 0; i < NUM_TENSORS; i++) {
        for (int k = 0; k < MAX_ELEMS; k++) {
            grads[i][k] = (float)((k * 7919 + i * 104729) % 1000) * 1e-3f - 0.5f;
        }
    }
}

static psgd_status_t take_steps(psgd_reducer_t *reducer)
{
    static float  grads[NUM_TENSORS][MAX_ELEMS];
    float        *pointers[NUM_TENSORS];
    psgd_status_t status = PSGD_OK;

    for (int i = 0; i < NUM_TENSORS; i++) {
        pointers[i] = grads[i];
    }
    for (int step = 0; (step < NUM_STEPS) && (status == PSGD_OK); step++) {
        fill_gradients(grads);
        status = psgd_reducer_step_host(reducer, pointers, NUM_TENSORS);
    }
    return status;
}

static psgd_status_t use_the_library(const psgd_device_info_t *device, const psgd_comm_t *comm, uint32_t rank,
                                     int error_feedback)
{
    psgd_tensor_t   tensors[NUM_TENSORS];
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_status_t   status;

    describe_tensors(tensors);
    config.rank                 = rank;
    config.min_compression_rate = 0.0;
    config.error_feedback       = error_feedback;
    status = psgd_reducer_create(NULL, device->device, NULL, tensors, NUM_TENSORS, &config, comm, &reducer);
    if (status == PSGD_OK) {
        status = take_steps(reducer);
    }
    psgd_reducer_destroy(reducer);
    return status;
}

int main(void)
{
    psgd_device_info_t device = PSGD_DEVICE_INFO_INIT;
    psgd_comm_t       *comm   = NULL;
    psgd_status_t      status;

    status = psgd_device_find(NULL, &device);
    if (status == PSGD_OK) {
        status = psgd_comm_self_create(&comm);
    }
    for (uint32_t rank = 1; (status == PSGD_OK) && (rank <= 4); rank *= 2) {
        status = use_the_library(&device, comm, rank, 1);
    }
    if (status == PSGD_OK) {
        status = use_the_library(&device, comm, 4, 0);
    }
    psgd_comm_destroy(comm);
    if (status != PSGD_OK) {
        fprintf(stderr, "fill_kernel_cache: %s: %s\n", psgd_status_name(status), psgd_last_error());
        return EXIT_FAILURE;
    }
    printf("compiled for %s\n", device.name);
    return EXIT_SUCCESS;
}
