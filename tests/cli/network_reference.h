/* The models of psgd-train written down naively, in double precision, one example at a time: loss and gradients. */
#ifndef PSGD_TESTS_CLI_NETWORK_REFERENCE_H
#define PSGD_TESTS_CLI_NETWORK_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

enum { REFERENCE_MAX_TENSORS = 8, REFERENCE_MAX_WIDTH = 2 };

/* Parameters or gradients: tensor i, row-major. mlp: weight and bias of three linear layers. cnn: weight and bias of
 * two convolutions and two linear layers. */
typedef struct reference_params {
    double *tensors[REFERENCE_MAX_TENSORS];
} reference_params_t;

/* With hidden layers and filters multiplied by `width`, REFERENCE_MAX_WIDTH at most: the mean cross-entropy of `batch`
 * examples of 784 floats each; where grads is not NULL, its gradients too. */
double reference_mlp(const reference_params_t *params, size_t width, const float *images, const uint32_t *labels,
                     size_t batch, const reference_params_t *grads);
double reference_cnn(const reference_params_t *params, size_t width, const float *images, const uint32_t *labels,
                     size_t batch, const reference_params_t *grads);

#endif
