/* Fashion-MNIST (or MNIST, or another data set of that form): images and labels in host memory. */
#ifndef PSGD_TRAIN_DATASET_H
#define PSGD_TRAIN_DATASET_H

#include "idx.h"
#include "status.h"

enum { IMAGE_SIDE = 28, IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE, NUM_CLASSES = 10 };

/* One part: `count` images of IMAGE_PIXELS bytes, and the class of each, 0 to NUM_CLASSES - 1. */
typedef struct dataset_part {
    uint32_t count;
    idx_t    images;
    idx_t    labels;
} dataset_part_t;

typedef struct dataset {
    dataset_part_t train;
    dataset_part_t test;
} dataset_t;

/* Reads the four files of `directory`: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]. *dataset_p is freed by
 * dataset_free(). Errors: those of idx_read(); images of another size, not as many labels as images, a label that is
 * no class. */
tool_status_t dataset_load(const char *directory, dataset_t *dataset_p);

/* Fine for a dataset_t that is all zero. */
void dataset_free(dataset_t *dataset);

/* All of its bytes as one number, so that workers can compare what they have read. */
uint64_t dataset_hash(const dataset_t *dataset);

/* Mean and standard deviation of the pixels, each in 0 to 255; a deviation of 0 counts as 1. */
void dataset_moments(const dataset_part_t *part, double *mean_p, double *deviation_p);

#endif
