/* --tensors: what the command line says of single tensors. */
#ifndef PSGD_TRAIN_TENSOR_OPTIONS_H
#define PSGD_TRAIN_TENSOR_OPTIONS_H

#include "status.h"
#include "tensor_settings.h"

/* What `text`, "name settings; name settings; ...", says of the tensor of this name; all 0 where that is nothing, or text is NULL.
 * Errors: TOOL_USAGE, of any part of the text. */
tool_status_t tensor_options_find(const char *text, const char *name, tensor_settings_t *settings_p);

/* That every tensor in the text is one of names[0 .. count). Errors: TOOL_USAGE. */
tool_status_t tensor_options_check(const char *text, const char *const *names, size_t count);

#endif
