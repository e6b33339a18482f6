#define _GNU_SOURCE /* secure_getenv */
#include "base/env.h"

#include <stdlib.h>

#include <psgd/psgd.h>

static const struct {
    const char *name;
    const char *meaning;
} VARIABLES[PSGD_NUM_ENV] = {
#define ROW(id_, name_, meaning_) {name_, meaning_},
    PSGD_ENV_TABLE(ROW)
#undef ROW
};

const char *psgd_env_value(psgd_env_t variable)
{
    const char *value = secure_getenv(VARIABLES[variable].name);

    return (value != NULL) && (value[0] != '\0') ? value : NULL;
}

int psgd_env_get(size_t index, psgd_env_info_t *info_p)
{
    if ((index >= PSGD_NUM_ENV) || (info_p == NULL)) {
        return 0;
    }
    info_p->name    = VARIABLES[index].name;
    info_p->value   = psgd_env_value((psgd_env_t)index);
    info_p->meaning = VARIABLES[index].meaning;
    return 1;
}
