/* Where a text comes from: a file, or Debian's King James Bible. */
#ifndef PSGD_TRAIN_TEXT_SOURCE_H
#define PSGD_TRAIN_TEXT_SOURCE_H

#include <stddef.h>

#include "status.h"

/* What the text is called that is taken where no file is named. */
#define TEXT_SOURCE_DEFAULT "bible-kjv"

/* Reads the file, gzip or not; path NULL: has `bible`, of the Debian package bible-kjv, print the whole Bible, and leaves a
 * verse in each line, without its number (the package's file is compressed in a form of its own, which `bible` alone
 * knows). *bytes_p, which ends in a 0x00 that *count_p does not count, is freed by free(). Errors: TOOL_FAILED. */
tool_status_t text_source_read(const char *path, char **bytes_p, size_t *count_p);

#endif
