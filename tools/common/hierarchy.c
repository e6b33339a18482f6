#include "hierarchy.h"

#include <stddef.h>

const char *const hierarchy_words[] = {"flat", "nodes", NULL};
