#include "dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "random.h"

static tool_status_t check_part(const char *directory, const char *prefix, const dataset_part_t *part)
{
    const idx_t *images = &part->images;
    const idx_t *labels = &part->labels;

    if (images->dims[1] != IMAGE_SIDE || images->dims[2] != IMAGE_SIDE) {
        return tool_fail(TOOL_FAILED, "the images of %s/%s-images-idx3-ubyte are %u x %u; the models take %d x %d",
                         directory, prefix, (unsigned)images->dims[1], (unsigned)images->dims[2], IMAGE_SIDE,
                         IMAGE_SIDE);
    }
    if (images->dims[0] != labels->dims[0]) {
        return tool_fail(TOOL_FAILED, "in %s, %s-images-idx3-ubyte holds %u images and %s-labels-idx1-ubyte %u labels",
                         directory, prefix, (unsigned)images->dims[0], prefix, (unsigned)labels->dims[0]);
    }
    for (uint32_t i = 0; i < labels->dims[0]; ++i) {
        if (labels->values[i] >= NUM_CLASSES) {
            return tool_fail(TOOL_FAILED, "in %s/%s-labels-idx1-ubyte, label %u is %u; labels are 0 to %d", directory,
                             prefix, (unsigned)i, (unsigned)labels->values[i], NUM_CLASSES - 1);
        }
    }
    return TOOL_OK;
}

static tool_status_t load_part(const char *directory, const char *prefix, dataset_part_t *part)
{
    char          name[64];
    tool_status_t status;

    snprintf(name, sizeof(name), "%s-images-idx3-ubyte", prefix);
    status = idx_read(directory, name, 3, &part->images);
    if (status != TOOL_OK) {
        return status;
    }
    snprintf(name, sizeof(name), "%s-labels-idx1-ubyte", prefix);
    status = idx_read(directory, name, 1, &part->labels);
    if (status != TOOL_OK) {
        return status;
    }
    part->count = part->images.dims[0];
    return check_part(directory, prefix, part);
}

tool_status_t dataset_load(const char *directory, dataset_t *dataset_p)
{
    dataset_t     dataset;
    tool_status_t status;

    memset(&dataset, 0, sizeof(dataset));
    status = load_part(directory, "train", &dataset.train);
    if (status == TOOL_OK) {
        status = load_part(directory, "t10k", &dataset.test);
    }
    if (status != TOOL_OK) {
        dataset_free(&dataset);
        return status;
    }
    *dataset_p = dataset;
    return TOOL_OK;
}

void dataset_free(dataset_t *dataset)
{
    idx_free(&dataset->train.images);
    idx_free(&dataset->train.labels);
    idx_free(&dataset->test.images);
    idx_free(&dataset->test.labels);
}

static uint64_t hash_idx(uint64_t hash, const idx_t *idx)
{
    size_t i = 0;

    hash = random_mix(hash ^ idx->bytes);
    for (; i + sizeof(uint64_t) <= idx->bytes; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, idx->values + i, sizeof(word));
        hash = random_mix(hash ^ word);
    }
    for (; i < idx->bytes; ++i) {
        hash = random_mix(hash ^ idx->values[i]);
    }
    return hash;
}

uint64_t dataset_hash(const dataset_t *dataset)
{
    uint64_t hash = 0;

    hash = hash_idx(hash, &dataset->train.images);
    hash = hash_idx(hash, &dataset->train.labels);
    hash = hash_idx(hash, &dataset->test.images);
    return hash_idx(hash, &dataset->test.labels);
}

void dataset_moments(const dataset_part_t *part, double *mean_p, double *deviation_p)
{
    const idx_t *images     = &part->images;
    uint64_t     sum        = 0;
    uint64_t     sum_square = 0;
    double       count      = (double)images->bytes;
    double       mean, variance;

    for (size_t i = 0; i < images->bytes; ++i) {
        sum += images->values[i];
        sum_square += (uint64_t)images->values[i] * images->values[i];
    }
    mean         = (double)sum / count;
    variance     = (double)sum_square / count - mean * mean;
    *mean_p      = mean;
    *deviation_p = variance > 0.0 ? sqrt(variance) : 1.0;
}
