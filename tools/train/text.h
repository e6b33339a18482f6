/* A text as numbers: words, a vocabulary, and a part that is held out.
 *
 * A line is a sentence (a verse); empty ones do not count. Its words are runs of letters and digits, in lower case, with an apostrophe or
 * hyphen where letters stand on both sides ("lord's", "beth-el"); each other visible character is a word of its own. Bytes
 * from 0x80 on count as letters, so UTF-8 stays whole. Behind each sentence comes TEXT_END.
 *
 * Of each ten blocks of sentences the last is held out. Where the end of a text was held out, it might be another author's:
 * so it is of the same books as the rest, in blocks long enough for an LSTM to find its way.
 *
 * The vocabulary is the most frequent words of the training part, equally frequent ones in the order of their bytes. Others
 * are TEXT_UNKNOWN. */
#ifndef PSGD_TRAIN_TEXT_H
#define PSGD_TRAIN_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { TEXT_UNKNOWN = 0, TEXT_END = 1, TEXT_FIRST_WORD = 2 };

enum { TEXT_BLOCK_SENTENCES = 100, TEXT_BLOCKS = 10 }; /* of a block; of these blocks one is held out */

typedef struct text_part {
    uint32_t *words; /* each below the vocabulary */
    size_t    count;
} text_part_t;

typedef struct text {
    uint32_t    vocabulary; /* words that are known, TEXT_UNKNOWN and TEXT_END among them */
    uint32_t    sentences;
    text_part_t train, test;
} text_t;

/* From bytes[0 .. count), behind which a 0x00 stands, and which become lower case. The vocabulary has at most
 * `vocabulary` words. A text of fewer than 1000 sentences has blocks of a tenth of them. *text_p is freed by text_free().
 * Errors: TOOL_FAILED, with `name` in the sentence: a 0x00 in the text, fewer than ten sentences. */
tool_status_t text_make(const char *name, char *bytes, size_t count, uint32_t vocabulary, text_t *text_p);
void          text_free(text_t *text); /* fine for a text_t that is all zero */

/* All of its numbers as one. */
uint64_t text_hash(const text_t *text);

#endif
