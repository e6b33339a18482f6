/* What a layer knows of the programs of its process, and the calls that are alike in all layers that let the kernels of one program come
 * from another: layer_programs.c is compiled into each of these. */
#ifndef PSGD_TESTS_SUPPORT_LAYER_PROGRAMS_H
#define PSGD_TESTS_SUPPORT_LAYER_PROGRAMS_H

#include <CL/cl_layer.h>

/* A program that was made from text. */
typedef struct layer_program {
    struct layer_program *next;
    cl_program            handle;
    cl_context            context;
    cl_uint               references; /* of the process; 0: the layer alone has it */
    char                 *text;
    char                 *options;  /* the layer's: of its build, to be freed; NULL before */
    cl_program            stand_in; /* the layer's: whose kernels stand in for its own; else NULL */
} layer_program_t;

extern const cl_icd_dispatch *layer_target; /* the next layer, or the loader; it outlives this layer */
extern layer_program_t       *layer_programs;

/* Around whatever touches layer_programs, and the functions below. */
void layer_lock(void);
void layer_unlock(void);

/* NULL: no program that was made from text, or none of the process's any more. */
layer_program_t *layer_find(cl_program handle);
void             layer_forget(layer_program_t *program);

/* The handle that knows the kernels. Not within the lock. */
cl_program layer_handle_of(cl_program handle);

/* Of clInitLayer(): the calls that are alike. What builds and releases programs, and clGetProgramInfo(), are the layer's own. */
void layer_follow_programs(const cl_icd_dispatch *target, cl_icd_dispatch *layer);

#endif
