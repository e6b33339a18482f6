#define _POSIX_C_SOURCE 200809L /* popen */
#include "text_source.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* One verse in each line, behind its reference and a blank: "Ge1:1 In the beginning ...". The text is looked for in
 * its package's place alone, not in the current directory. */
static const char BIBLE_COMMAND[] = "bible -p /usr/lib -f gen1:1-rev22:21 </dev/null 2>/dev/null";

enum { FIRST_BYTES = 1 << 20 };

/* More than any text that this tool can train on. */
static const size_t MAX_BYTES = (size_t)1 << 30;

/* Bytes that grow. */
typedef struct store {
    char  *bytes;
    size_t count, room;
} store_t;

/* Reads at most `room` bytes to `to`: how many, 0 at the end, or -1. */
typedef int (*read_fn)(void *from, char *to, unsigned room);

static int read_gzip(void *from, char *to, unsigned room)
{
    return gzread(from, to, room);
}

static int read_pipe(void *from, char *to, unsigned room)
{
    size_t got = fread(to, 1, room, from);

    return got == 0 && ferror((FILE *)from) != 0 ? -1 : (int)got;
}

/* Room for at least one byte, and a 0x00 behind it. */
static tool_status_t make_room(store_t *store, const char *what)
{
    char  *bytes;
    size_t room = store->room == 0 ? FIRST_BYTES : 2 * store->room;

    if (store->count + 1 < store->room) {
        return TOOL_OK;
    }
    if (room > MAX_BYTES) {
        return tool_fail(TOOL_FAILED, "%s is longer than %zu bytes, the most that a text may have", what,
                         MAX_BYTES / 2);
    }
    bytes = realloc(store->bytes, room);
    if (bytes == NULL) {
        return tool_fail(TOOL_FAILED, "out of memory: cannot allocate %zu bytes for %s", room, what);
    }
    store->bytes = bytes;
    store->room  = room;
    return TOOL_OK;
}

/* All that is there. *failed_p: the last read failed. */
static tool_status_t read_all(read_fn read, void *from, const char *what, store_t *store, bool *failed_p)
{
    int got = 1;

    while (got > 0) {
        tool_status_t status = make_room(store, what);

        if (status != TOOL_OK) {
            return status;
        }
        got = read(from, store->bytes + store->count, (unsigned)(store->room - store->count - 1));
        if (got > 0) {
            store->count += (size_t)got;
        }
    }
    store->bytes[store->count] = '\0';
    *failed_p                  = got < 0;
    return TOOL_OK;
}

static tool_status_t read_file(const char *path, store_t *store)
{
    bool          is_cut = false;
    int           code   = Z_OK;
    const char   *words;
    gzFile        file;
    tool_status_t status;

    errno = 0;
    file  = gzopen(path, "rb");
    if (file == NULL) {
        return tool_fail(TOOL_FAILED, "cannot open the text %s: %s", path,
                         errno != 0 ? strerror(errno) : "out of memory");
    }
    status = read_all(read_gzip, file, path, store, &is_cut);
    words  = gzerror(file, &code);
    if (status == TOOL_OK && (is_cut || code == Z_BUF_ERROR)) {
        status = tool_fail(TOOL_FAILED, "cannot read the text %s: %s", path, code == Z_ERRNO ? strerror(errno) : words);
    }
    gzclose(file); /* of a file that was read: its errors were told by gzread() */
    return status;
}

/* Takes the reference off each line, in place. */
static void strip_references(store_t *store)
{
    const char *from = store->bytes;
    char       *to   = store->bytes;

    while (*from != '\0') {
        const char *text   = from + strcspn(from, " \n");
        size_t      length = strcspn(text, "\n");

        length += text[length] == '\n';
        memmove(to, text, length);
        to += length;
        from = text + length;
    }
    *to          = '\0';
    store->count = (size_t)(to - store->bytes);
}

static tool_status_t read_bible(store_t *store)
{
    bool  is_cut = false;
    FILE *pipe;
    int   code;

    /* NOLINTNEXTLINE(cert-env33-c): a fixed command, found by PATH as any command is (docs/security.md) */
    pipe = popen(BIBLE_COMMAND, "r");
    if (pipe == NULL) {
        return tool_fail(TOOL_FAILED, "cannot run bible: %s", strerror(errno));
    }
    if (read_all(read_pipe, pipe, "the Bible", store, &is_cut) != TOOL_OK) {
        pclose(pipe);
        return TOOL_FAILED;
    }
    code = pclose(pipe);
    if (code != 0 || is_cut || store->count == 0) {
        return tool_fail(TOOL_FAILED,
                         "cannot print the Bible with bible: install the Debian package bible-kjv (apt-get install "
                         "bible-kjv), or name a text by --data");
    }
    strip_references(store);
    return TOOL_OK;
}

tool_status_t text_source_read(const char *path, char **bytes_p, size_t *count_p)
{
    store_t       store  = {NULL, 0, 0};
    tool_status_t status = path != NULL ? read_file(path, &store) : read_bible(&store);

    if (status != TOOL_OK) {
        free(store.bytes);
        return status;
    }
    *bytes_p = store.bytes;
    *count_p = store.count;
    return TOOL_OK;
}
