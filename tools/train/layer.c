#include "layer.h"

#include <stdlib.h>

tool_status_t layer_allocate(layer_t *layer)
{
    tool_status_t status;

    status = gpu_alloc(layer->gpu, layer->batch * layer->out_elems, sizeof(float), "a layer's output", &layer->output);
    if (status == TOOL_OK) {
        status = gpu_alloc(layer->gpu, layer->batch * layer->out_elems, sizeof(float),
                           "the gradient of a layer's output", &layer->output_grad);
    }
    return status;
}

void layer_free(layer_t *layer)
{
    gpu_free(layer->output);
    gpu_free(layer->output_grad);
    gpu_free(layer->state);
    free(layer);
}
