/* What every OpenCL layer answers when the loader asks for it: layer_info.c is compiled into each. */
#ifndef PSGD_TESTS_SUPPORT_LAYER_INFO_H
#define PSGD_TESTS_SUPPORT_LAYER_INFO_H

#include <CL/cl_layer.h>

#define EXPORTED __attribute__((visibility("default")))

/* Defined by the layer. */
extern const char layer_name[];

#endif
