/* A model as the tools see it that measure: the shapes of its parameter tensors. */
#ifndef PSGD_TOOLS_MODEL_H
#define PSGD_TOOLS_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

typedef struct model_tensor {
    char              *name;
    uint64_t           dims[PSGD_MAX_DIMS];
    uint32_t           num_dims;
    uint64_t           elems;
    int32_t            rank; /* psgd_tensor_t.rank */
    psgd_matrix_view_t view; /* psgd_tensor_t.view */
} model_tensor_t;

typedef struct model {
    model_tensor_t *tensors;
    size_t          count, capacity;
    uint64_t        elems; /* of all tensors */
} model_t;

/* The built-in model of this name (models.c), or the file that `which` names (model_file.c). *model_p is all zero
 * before; freed by model_free(), also after an error. Errors: TOOL_USAGE, TOOL_FAILED. */
tool_status_t model_load(const char *which, model_t *model_p);
void          model_free(model_t *model); /* fine where it is all zero */

/* Appends a tensor of the default rank and view; the name is copied. Errors: TOOL_FAILED (no memory). */
tool_status_t model_add(model_t *model, const char *name, uint32_t num_dims, const uint64_t *dims);

/* model_add() with the dims listed. */
#define MODEL_ADD(model_, name_, ...) \
    model_add(model_, name_, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), \
              (const uint64_t[]){__VA_ARGS__})

/* The tensor of this name, or NULL. */
const model_tensor_t *model_find(const model_t *model, const char *name);

/* The tensors as a reducer is told of them, their gradients of this type; freed by free(). Their names are the model's. */
tool_status_t model_make_tensors(const model_t *model, psgd_dtype_t dtype, psgd_tensor_t **tensors_p);

/* The same number for the same tensors in the same order. */
uint64_t model_hash(const model_t *model);

/* ---- where models come from ---- */

/* *known_p: whether there is a built-in model of this name; then it is appended. */
tool_status_t model_add_builtin(model_t *model, const char *name, int *known_p);

/* Reads `name dim dim ... [rank=R|never] [view=b,rows,cols,stride,stride,stride]` lines; what follows a '#' is a comment.
 * Errors: TOOL_USAGE; of a line, with file, line and column, both from 1. */
tool_status_t model_read_file(model_t *model, const char *path);

#endif
