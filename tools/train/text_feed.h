/* A part of a text on the device, as streams that a worker reads side by side. With W workers of B streams the part is
 * cut into W B pieces of equal length; stream b of worker w reads piece w B + b from its beginning to its end, T words a step. What
 * goes in is a word, and what is asked for is the next one; before the part's first word stands TEXT_END. */
#ifndef PSGD_TRAIN_TEXT_FEED_H
#define PSGD_TRAIN_TEXT_FEED_H

#include <stdbool.h>

#include "gpu.h"
#include "network.h"
#include "text.h"
#include "workers.h"

/* A target that is no word of any vocabulary: nothing is asked for. */
enum { TEXT_FEED_NOTHING = -1 };

typedef struct text_feed {
    const gpu_t *gpu;
    size_t       batch; /* places * streams */
    uint64_t     steps;
    cl_mem       words, targets, order; /* steps x batch: by step, place, stream; the order as network_t has it */
} text_feed_t;

/* is_whole: each word of the part is asked for once, and pieces are filled up; else steps are whole, and what is left over
 * at the end of pieces and part is not read (0 steps: the part is too short, and there is nothing on the device).
 * *feed_p is freed by text_feed_free(). */
tool_status_t text_feed_create(const gpu_t *gpu, const text_part_t *part, const workers_t *workers, size_t streams,
                               size_t places, bool is_whole, text_feed_t *feed_p);
void          text_feed_free(text_feed_t *feed); /* fine for a text_feed_t that is all zero */

/* Enqueues batch number `step` into the network's input, order and targets. */
tool_status_t text_feed_enqueue(const text_feed_t *feed, uint64_t step, network_t *network);

#endif
