#include "tensor_options.h"

#include <stdbool.h>
#include <string.h>

/* One part of the text. */
typedef struct part {
    const char       *name; /* length bytes */
    size_t            length;
    tensor_settings_t settings;
} part_t;

/* Reads the part at *text_p, and moves that behind it. */
static tool_status_t read_part(const char **text_p, part_t *part)
{
    const char *at, *sentence = NULL;

    part->name   = *text_p + strspn(*text_p, " \t");
    part->length = strcspn(part->name, " \t;");
    at           = part->name;
    *text_p      = tensor_settings_read(part->name + part->length, ";", &part->settings, &at, &sentence);
    if (*text_p == NULL) {
        return tool_fail(TOOL_USAGE, "--tensors: %s, not '%s'", sentence, at);
    }
    *text_p += **text_p == ';';
    return TOOL_OK;
}

static bool is_named(const part_t *part, const char *name)
{
    return strlen(name) == part->length && strncmp(part->name, name, part->length) == 0;
}

tool_status_t tensor_options_find(const char *text, const char *name, tensor_settings_t *settings_p)
{
    tool_status_t status = TOOL_OK;

    memset(settings_p, 0, sizeof(*settings_p));
    while (text != NULL && *text != '\0' && status == TOOL_OK) {
        part_t part;

        status = read_part(&text, &part);
        if (status == TOOL_OK && is_named(&part, name)) {
            *settings_p = part.settings;
        }
    }
    return status;
}

tool_status_t tensor_options_check(const char *text, const char *const *names, size_t count)
{
    tool_status_t status = TOOL_OK;

    while (text != NULL && *text != '\0' && status == TOOL_OK) {
        part_t part;
        bool   is_known = false;

        status = read_part(&text, &part);
        for (size_t i = 0; i < count && status == TOOL_OK && !is_known; ++i) {
            is_known = is_named(&part, names[i]);
        }
        if (status == TOOL_OK && !is_known) {
            return tool_fail(TOOL_USAGE, "--tensors: the model has no tensor '%.*s'; its first is '%s'",
                             (int)part.length, part.name, names[0]);
        }
    }
    return status;
}
