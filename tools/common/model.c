#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "random.h"

static tool_status_t reserve(model_t *model)
{
    size_t          capacity = model->capacity > 0 ? 2 * model->capacity : 64;
    model_tensor_t *tensors;

    if (model->count < model->capacity) {
        return TOOL_OK;
    }
    tensors = realloc(model->tensors, capacity * sizeof(*tensors));
    if (tensors == NULL) {
        return tool_fail(TOOL_FAILED, "out of host memory for %zu tensors", capacity);
    }
    model->tensors  = tensors;
    model->capacity = capacity;
    return TOOL_OK;
}

tool_status_t model_add(model_t *model, const char *name, uint32_t num_dims, const uint64_t *dims)
{
    model_tensor_t tensor = {.num_dims = num_dims, .elems = 1};
    tool_status_t  status = reserve(model);

    if (status == TOOL_OK) {
        status = tool_alloc(strlen(name) + 1, 1, "the name of a tensor", &tensor.name);
    }
    if (status != TOOL_OK) {
        return status;
    }
    memcpy(tensor.name, name, strlen(name));
    for (uint32_t d = 0; d < num_dims; ++d) {
        tensor.dims[d] = dims[d];
        tensor.elems *= dims[d];
    }
    model->tensors[model->count++] = tensor;
    model->elems += tensor.elems;
    return TOOL_OK;
}

const model_tensor_t *model_find(const model_t *model, const char *name)
{
    for (size_t t = 0; t < model->count; ++t) {
        if (strcmp(model->tensors[t].name, name) == 0) {
            return &model->tensors[t];
        }
    }
    return NULL;
}

tool_status_t model_make_tensors(const model_t *model, psgd_dtype_t dtype, psgd_tensor_t **tensors_p)
{
    psgd_tensor_t *tensors = NULL;
    tool_status_t  status  = tool_alloc(model->count, sizeof(*tensors), "the tensors", &tensors);

    for (size_t t = 0; t < model->count && status == TOOL_OK; ++t) {
        const psgd_tensor_t empty = PSGD_TENSOR_INIT;

        tensors[t]          = empty;
        tensors[t].name     = model->tensors[t].name;
        tensors[t].num_dims = model->tensors[t].num_dims;
        tensors[t].dtype    = dtype;
        tensors[t].rank     = model->tensors[t].rank;
        tensors[t].view     = model->tensors[t].view;
        memcpy(tensors[t].dims, model->tensors[t].dims, sizeof(model->tensors[t].dims));
    }
    if (status == TOOL_OK) {
        *tensors_p = tensors;
    }
    return status;
}

static uint64_t hash_view(uint64_t hash, const psgd_matrix_view_t *view)
{
    const uint64_t fields[] = {view->batch,        view->rows,       view->cols,
                               view->batch_stride, view->row_stride, view->col_stride};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); ++i) {
        hash = random_mix(hash ^ fields[i]);
    }
    return hash;
}

uint64_t model_hash(const model_t *model)
{
    uint64_t hash = model->count;

    for (size_t t = 0; t < model->count; ++t) {
        for (const char *at = model->tensors[t].name; *at != '\0'; ++at) {
            hash = random_mix(hash ^ (unsigned char)*at);
        }
        for (uint32_t d = 0; d < model->tensors[t].num_dims; ++d) {
            hash = random_mix(hash ^ model->tensors[t].dims[d]);
        }
        hash = random_mix(hash ^ (uint64_t)(int64_t)model->tensors[t].rank);
        hash = hash_view(hash, &model->tensors[t].view);
    }
    return hash;
}

tool_status_t model_load(const char *which, model_t *model_p)
{
    int           known  = 0;
    tool_status_t status = model_add_builtin(model_p, which, &known);

    if (status == TOOL_OK && !known) {
        status = model_read_file(model_p, which);
    }
    return status;
}

void model_free(model_t *model)
{
    for (size_t t = 0; t < model->count; ++t) {
        free(model->tensors[t].name);
    }
    free(model->tensors);
    memset(model, 0, sizeof(*model));
}
