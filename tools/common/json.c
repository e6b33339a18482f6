#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

static void write_escaped(FILE *out, unsigned char byte)
{
    switch (byte) {
    case '"': fputs("\\\"", out); break;
    case '\\': fputs("\\\\", out); break;
    case '\n': fputs("\\n", out); break;
    case '\t': fputs("\\t", out); break;
    default:
        if ((byte < 0x20) || (byte == 0x7F)) {
            fprintf(out, "\\u%04x", byte);
        } else {
            fputc(byte, out);
        }
    }
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the UTF-8 character that begins here: 1 to 4; 0 where it is not one (overlong, surrogate, above U+10FFFF). */
static size_t utf8_length(const unsigned char *at)
{
    if (at[0] < 0x80) {
        return 1;
    }
    if ((at[0] >= 0xC2) && (at[0] <= 0xDF)) {
        return is_continuation(at[1]) ? 2 : 0;
    }
    if ((at[0] >= 0xE0) && (at[0] <= 0xEF)) {
        bool is_overlong  = (at[0] == 0xE0) && (at[1] < 0xA0);
        bool is_surrogate = (at[0] == 0xED) && (at[1] > 0x9F);

        return is_continuation(at[1]) && is_continuation(at[2]) && !is_overlong && !is_surrogate ? 3 : 0;
    }
    if ((at[0] >= 0xF0) && (at[0] <= 0xF4)) {
        bool is_overlong = (at[0] == 0xF0) && (at[1] < 0x90);
        bool is_above    = (at[0] == 0xF4) && (at[1] > 0x8F);

        return is_continuation(at[1]) && is_continuation(at[2]) && is_continuation(at[3]) && !is_overlong && !is_above
                   ? 4
                   : 0;
    }
    return 0;
}

static void write_string(FILE *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    fputc('"', out);
    while (*at != '\0') {
        size_t length = utf8_length(at);

        if (length == 1) {
            write_escaped(out, *at);
        } else if (length == 0) {
            fputs("\\ufffd", out);
        } else {
            (void)fwrite(at, 1, length, out);
        }
        at += length > 0 ? length : 1;
    }
    fputc('"', out);
}

/* What comes before every value: the comma of the one before, a new line, the key. */
static void begin_value(json_t *json, const char *key)
{
    if (json->depth > 0) {
        fprintf(json->out, "%s\n%*s", json->is_first ? "" : ",", 2 * json->depth, "");
    }
    json->is_first = false;
    if (key != NULL) {
        write_string(json->out, key);
        fputs(": ", json->out);
    }
}

static void begin(json_t *json, const char *key, char bracket)
{
    begin_value(json, key);
    fputc(bracket, json->out);
    ++json->depth;
    json->is_first = true;
}

static void end(json_t *json, char bracket)
{
    --json->depth;
    if (!json->is_first) {
        fprintf(json->out, "\n%*s", 2 * json->depth, "");
    }
    fputc(bracket, json->out);
    json->is_first = false;
    if (json->depth == 0) {
        fputc('\n', json->out);
    }
}

void json_begin_object(json_t *json, const char *key)
{
    begin(json, key, '{');
}

void json_end_object(json_t *json)
{
    end(json, '}');
}

void json_begin_array(json_t *json, const char *key)
{
    begin(json, key, '[');
}

void json_end_array(json_t *json)
{
    end(json, ']');
}

void json_text(json_t *json, const char *key, const char *text)
{
    if (text == NULL) {
        json_null(json, key);
        return;
    }
    begin_value(json, key);
    write_string(json->out, text);
}

void json_integer(json_t *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_real(json_t *json, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(json, key);
        return;
    }
    begin_value(json, key);
    fprintf(json->out, "%.9g", value);
}

void json_bool(json_t *json, const char *key, bool value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_null(json_t *json, const char *key)
{
    begin_value(json, key);
    fputs("null", json->out);
}
