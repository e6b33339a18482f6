/* Writing JSON: two blanks a level, keys and values in the order of the calls. */
#ifndef PSGD_TOOLS_JSON_H
#define PSGD_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct json {
    FILE *out;
    int   depth;
    bool  is_first; /* nothing was written in the innermost object or array */
} json_t;

/* `key` is NULL in arrays and for the document itself. */
void json_begin_object(json_t *json, const char *key);
void json_end_object(json_t *json);
void json_begin_array(json_t *json, const char *key);
void json_end_array(json_t *json);

void json_text(json_t *json, const char *key,
               const char *text); /* NULL: null. Bytes that are not UTF-8 become U+FFFD */
void json_integer(json_t *json, const char *key, uint64_t value);
void json_real(json_t *json, const char *key, double value); /* NaN and infinities: null, since JSON has none */
void json_bool(json_t *json, const char *key, bool value);
void json_null(json_t *json, const char *key);

#endif
