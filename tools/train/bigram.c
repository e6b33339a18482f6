#include "bigram.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Pairs of the training part, and what is counted of them. */
typedef struct bigram {
    uint32_t  vocabulary;
    uint64_t *pairs;  /* before * vocabulary + word: ascending, each once */
    uint32_t *counts; /* of pairs: c(v w) */
    size_t    num_pairs;
    uint32_t *total;     /* by v: c(v) */
    uint32_t *followers; /* by v: N(v .) */
    uint32_t *leaders;   /* by w: N(. w) */
    double    discount, lower_discount;
    double    words; /* with leaders */
} bigram_t;

static uint32_t word_before(const text_part_t *part, size_t i)
{
    return i > 0 ? part->words[i - 1] : (uint32_t)TEXT_END;
}

static uint64_t pair_of(const bigram_t *bigram, uint32_t before, uint32_t word)
{
    return (uint64_t)before * bigram->vocabulary + word;
}

static int compare_pairs(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static tool_status_t allocate(bigram_t *bigram, size_t words)
{
    tool_status_t status = tool_alloc(words, sizeof(*bigram->pairs), "pairs of words", &bigram->pairs);

    if (status == TOOL_OK) {
        status = tool_alloc(words, sizeof(*bigram->counts), "pairs of words", &bigram->counts);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(bigram->vocabulary, sizeof(*bigram->total), "counts of words", &bigram->total);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(bigram->vocabulary, sizeof(*bigram->followers), "counts of words", &bigram->followers);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(bigram->vocabulary, sizeof(*bigram->leaders), "counts of words", &bigram->leaders);
    }
    return status;
}

static void release(bigram_t *bigram)
{
    free(bigram->pairs);
    free(bigram->counts);
    free(bigram->total);
    free(bigram->followers);
    free(bigram->leaders);
}

/* n1 / (n1 + 2 n2), where n1 of the counts are 1 and n2 are 2; 1/2 where none is 1, which leaves something for what was not seen */
static double discount_of(const uint32_t *counts, size_t num_counts)
{
    double ones = 0.0, twos = 0.0;

    for (size_t i = 0; i < num_counts; ++i) {
        ones += counts[i] == 1;
        twos += counts[i] == 2;
    }
    return ones > 0.0 ? ones / (ones + 2.0 * twos) : 0.5;
}

static void count_pairs(const text_part_t *part, bigram_t *bigram)
{
    for (size_t i = 0; i < part->count; ++i) {
        bigram->pairs[i] = pair_of(bigram, word_before(part, i), part->words[i]);
    }
    qsort(bigram->pairs, part->count, sizeof(*bigram->pairs), compare_pairs);
    for (size_t i = 0; i < part->count; ++i) {
        const uint64_t pair   = bigram->pairs[i];
        const bool     is_new = bigram->num_pairs == 0 || bigram->pairs[bigram->num_pairs - 1] != pair;

        if (is_new) {
            bigram->pairs[bigram->num_pairs++] = pair;
        }
        bigram->counts[bigram->num_pairs - 1] += 1;
        bigram->total[pair / bigram->vocabulary] += 1;
        bigram->followers[pair / bigram->vocabulary] += is_new;
        bigram->leaders[pair % bigram->vocabulary] += is_new;
    }
    for (uint32_t w = 0; w < bigram->vocabulary; ++w) {
        bigram->words += bigram->leaders[w] > 0;
    }
    bigram->discount       = discount_of(bigram->counts, bigram->num_pairs);
    bigram->lower_discount = discount_of(bigram->leaders, bigram->vocabulary);
}

static double lower_probability(const bigram_t *bigram, uint32_t word)
{
    return (fmax(bigram->leaders[word] - bigram->lower_discount, 0.0) +
            bigram->lower_discount * bigram->words / bigram->vocabulary) /
           (double)bigram->num_pairs;
}

static double probability(const bigram_t *bigram, uint32_t before, uint32_t word)
{
    const uint64_t  pair  = pair_of(bigram, before, word);
    const uint64_t *found = bsearch(&pair, bigram->pairs, bigram->num_pairs, sizeof(pair), compare_pairs);
    const double    count = found != NULL ? bigram->counts[found - bigram->pairs] : 0.0;
    const double    lower = lower_probability(bigram, word);

    if (bigram->total[before] == 0) {
        return lower;
    }
    return (fmax(count - bigram->discount, 0.0) + bigram->discount * bigram->followers[before] * lower) /
           bigram->total[before];
}

tool_status_t bigram_perplexity(const text_t *text, double *perplexity_p)
{
    bigram_t      bigram;
    double        sum = 0.0;
    tool_status_t status;

    memset(&bigram, 0, sizeof(bigram));
    bigram.vocabulary = text->vocabulary;
    status            = allocate(&bigram, text->train.count);
    if (status == TOOL_OK) {
        count_pairs(&text->train, &bigram);
        for (size_t i = 0; i < text->test.count; ++i) {
            sum -= log(probability(&bigram, word_before(&text->test, i), text->test.words[i]));
        }
        *perplexity_p = exp(sum / (double)text->test.count);
    }
    release(&bigram);
    return status;
}
