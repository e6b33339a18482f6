#include "text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

/* A word that the text has. */
typedef struct entry {
    const char *bytes;
    size_t      length;
    uint64_t    trained; /* how often it is in the training part */
    uint32_t    number;  /* in the vocabulary */
} entry_t;

/* The text while it is read: its words as indices of entries, in the order of their first appearance. */
typedef struct reading {
    entry_t  *entries;
    uint32_t  num_entries;
    uint32_t *slots;     /* a hash table of open addressing: 1 + the index of an entry, or 0 */
    size_t    num_slots; /* a power of two, more than twice as many as there can be entries */
    uint32_t *words;     /* indices of entries; END_MARK behind a sentence */
    size_t    num_words;
    uint32_t  sentences;
} reading_t;

static const uint32_t END_MARK = UINT32_MAX;

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || ((unsigned char)c >= 0x80);
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7F;
}

static void lower(char *bytes, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (bytes[i] >= 'A' && bytes[i] <= 'Z') {
            bytes[i] = (char)(bytes[i] - 'A' + 'a');
        }
    }
}

/* Of the word that begins at `at`, which is no blank. */
static size_t word_length(const char *at)
{
    size_t length = 1;

    if (!is_letter(*at)) {
        return 1;
    }
    while (is_letter(at[length]) || ((at[length] == '\'' || at[length] == '-') && is_letter(at[length + 1]))) {
        ++length;
    }
    return length;
}

static uint64_t hash_word(const char *bytes, size_t length)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */

    for (size_t i = 0; i < length; ++i) {
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001B3);
    }
    return random_mix(hash);
}

/* The index of the word's entry, which is made where there is none. */
static uint32_t find_entry(reading_t *reading, const char *bytes, size_t length)
{
    size_t slot = (size_t)hash_word(bytes, length) & (reading->num_slots - 1);

    for (; reading->slots[slot] != 0; slot = (slot + 1) & (reading->num_slots - 1)) {
        const entry_t *entry = &reading->entries[reading->slots[slot] - 1];

        if (entry->length == length && memcmp(entry->bytes, bytes, length) == 0) {
            return reading->slots[slot] - 1;
        }
    }
    reading->entries[reading->num_entries] = (entry_t){bytes, length, 0, TEXT_UNKNOWN};
    reading->slots[slot]                   = ++reading->num_entries;
    return reading->num_entries - 1;
}

/* What follows each word that the reader comes by: its address, its length; NULL where a line ends that had words. */
typedef void (*word_fn)(reading_t *reading, const char *bytes, size_t length);

static void walk(const char *bytes, size_t count, reading_t *reading, word_fn take)
{
    size_t at      = 0;
    bool   is_open = false; /* the line has had words */

    while (at < count) {
        size_t length = is_blank(bytes[at]) ? 0 : word_length(bytes + at);

        if (length > 0) {
            take(reading, bytes + at, length);
            is_open = true;
        } else if (bytes[at] == '\n' && is_open) {
            take(reading, NULL, 0);
            is_open = false;
        }
        at += length > 0 ? length : 1;
    }
    if (is_open) {
        take(reading, NULL, 0);
    }
}

static void count_word(reading_t *reading, const char *bytes, size_t length)
{
    (void)length;
    reading->num_words += 1;
    reading->sentences += bytes == NULL;
}

static void note_word(reading_t *reading, const char *bytes, size_t length)
{
    reading->words[reading->num_words++] = bytes != NULL ? find_entry(reading, bytes, length) : END_MARK;
}

static void free_reading(reading_t *reading)
{
    free(reading->entries);
    free(reading->slots);
    free(reading->words);
}

static tool_status_t check_text(const char *name, const char *bytes, size_t count, const reading_t *reading)
{
    if (memchr(bytes, '\0', count) != NULL || reading->num_words >= END_MARK) {
        return tool_fail(TOOL_FAILED, "%s is not a text: it holds bytes of 0x00, or billions of words", name);
    }
    if (reading->sentences < TEXT_BLOCKS) {
        return tool_fail(TOOL_FAILED,
                         "%s has %u lines with words, and a tenth of them is held out: it takes %d at least, "
                         "one sentence a line",
                         name, (unsigned)reading->sentences, (int)TEXT_BLOCKS);
    }
    return TOOL_OK;
}

static tool_status_t read_words(const char *name, char *bytes, size_t count, reading_t *reading)
{
    tool_status_t status;

    lower(bytes, count);
    walk(bytes, count, reading, count_word);
    status = check_text(name, bytes, count, reading);
    for (reading->num_slots = 1; reading->num_slots <= 2 * reading->num_words; reading->num_slots *= 2) {
    }
    if (status == TOOL_OK) {
        status = tool_alloc(reading->num_words, sizeof(*reading->words), "the text", &reading->words);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(reading->num_words, sizeof(*reading->entries), "the words of the text", &reading->entries);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(reading->num_slots, sizeof(*reading->slots), "the words of the text", &reading->slots);
    }
    if (status == TOOL_OK) {
        reading->num_words = 0;
        walk(bytes, count, reading, note_word);
    }
    return status;
}

/* Whether sentence number `sentence` is held out. */
static bool is_held_out(const reading_t *reading, uint32_t sentence)
{
    uint32_t tenth = reading->sentences / TEXT_BLOCKS;
    uint32_t block = tenth < TEXT_BLOCK_SENTENCES ? tenth : TEXT_BLOCK_SENTENCES;

    return sentence / block % TEXT_BLOCKS == TEXT_BLOCKS - 1;
}

/* How long both parts are, and how often each word is in the training part. */
static void count_parts(reading_t *reading, text_t *text)
{
    uint32_t sentence = 0;

    for (size_t i = 0; i < reading->num_words; ++i) {
        uint32_t word   = reading->words[i];
        bool     is_out = is_held_out(reading, sentence);

        text->test.count += is_out;
        text->train.count += !is_out;
        if (word == END_MARK) {
            ++sentence;
        } else {
            reading->entries[word].trained += !is_out;
        }
    }
}

/* The more frequent first; of equally frequent ones, by their bytes. */
static int compare_entries(const void *left, const void *right)
{
    const entry_t *a      = *(const entry_t *const *)left;
    const entry_t *b      = *(const entry_t *const *)right;
    size_t         common = a->length < b->length ? a->length : b->length;
    int            order  = memcmp(a->bytes, b->bytes, common);

    if (a->trained != b->trained) {
        return a->trained > b->trained ? -1 : 1;
    }
    if (order != 0) {
        return order;
    }
    return a->length < b->length ? -1 : a->length > b->length;
}

/* Numbers the words that are known. */
static tool_status_t choose_vocabulary(reading_t *reading, uint32_t vocabulary, text_t *text)
{
    entry_t     **sorted = NULL;
    tool_status_t status = tool_alloc(reading->num_entries, sizeof(*sorted), "the vocabulary", &sorted);

    if (status != TOOL_OK) {
        return status;
    }
    for (uint32_t i = 0; i < reading->num_entries; ++i) {
        sorted[i] = &reading->entries[i];
    }
    qsort(sorted, reading->num_entries, sizeof(*sorted), compare_entries);
    text->vocabulary = TEXT_FIRST_WORD;
    for (uint32_t i = 0; i < reading->num_entries && sorted[i]->trained > 0 && text->vocabulary < vocabulary; ++i) {
        sorted[i]->number = text->vocabulary++;
    }
    free(sorted);
    return TOOL_OK;
}

static void fill_parts(const reading_t *reading, text_t *text)
{
    uint32_t sentence = 0;
    size_t   at[2]    = {0, 0};

    for (size_t i = 0; i < reading->num_words; ++i) {
        uint32_t     word   = reading->words[i];
        bool         is_out = is_held_out(reading, sentence);
        text_part_t *part   = is_out ? &text->test : &text->train;

        part->words[at[is_out]++] = word == END_MARK ? TEXT_END : reading->entries[word].number;
        sentence += word == END_MARK;
    }
}

static tool_status_t make_parts(reading_t *reading, uint32_t vocabulary, text_t *text)
{
    tool_status_t status;

    text->sentences = reading->sentences;
    count_parts(reading, text);
    status = choose_vocabulary(reading, vocabulary, text);
    if (status == TOOL_OK) {
        status = tool_alloc(text->train.count, sizeof(*text->train.words), "the training words", &text->train.words);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(text->test.count, sizeof(*text->test.words), "the held-out words", &text->test.words);
    }
    if (status == TOOL_OK) {
        fill_parts(reading, text);
    }
    return status;
}

tool_status_t text_make(const char *name, char *bytes, size_t count, uint32_t vocabulary, text_t *text_p)
{
    reading_t     reading;
    text_t        text;
    tool_status_t status;

    memset(&reading, 0, sizeof(reading));
    memset(&text, 0, sizeof(text));
    status = read_words(name, bytes, count, &reading);
    if (status == TOOL_OK) {
        status = make_parts(&reading, vocabulary, &text);
    }
    free_reading(&reading);
    if (status != TOOL_OK) {
        text_free(&text);
        return status;
    }
    *text_p = text;
    return TOOL_OK;
}

void text_free(text_t *text)
{
    free(text->train.words);
    free(text->test.words);
    memset(text, 0, sizeof(*text));
}

static uint64_t hash_part(uint64_t hash, const text_part_t *part)
{
    hash = random_mix(hash ^ part->count);
    for (size_t i = 0; i < part->count; ++i) {
        hash = random_mix(hash ^ part->words[i]);
    }
    return hash;
}

uint64_t text_hash(const text_t *text)
{
    return hash_part(hash_part(random_mix(text->vocabulary), &text->train), &text->test);
}
