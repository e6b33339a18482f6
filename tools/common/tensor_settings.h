/* What a tool's user may say of one tensor, in words: how it is compressed. */
#ifndef PSGD_TOOLS_TENSOR_SETTINGS_H
#define PSGD_TOOLS_TENSOR_SETTINGS_H

#include <psgd/psgd.h>

typedef struct tensor_settings {
    int32_t            rank; /* psgd_tensor_t; 0 where it is not given */
    psgd_matrix_view_t view; /* psgd_tensor_t; all 0 where it is not given */
} tensor_settings_t;

/* Reads `rank=R`, `rank=never` and `view=batch,rows,cols,batch_stride,row_stride,col_stride`, in any order with blanks between, up to the
 * end of the text or one of the characters `ends`. Returns where that is; or NULL, and then *at_p is where it went wrong and
 * *sentence_p says why (static storage). Whether a view fits its tensor the library says. */
const char *tensor_settings_read(const char *text, const char *ends, tensor_settings_t *settings_p, const char **at_p,
                                 const char **sentence_p);

#endif
