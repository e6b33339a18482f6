#define _POSIX_C_SOURCE 200809L /* open, fsync, O_CLOEXEC */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"

static psgd_status_t fail(const char *doing, const char *path)
{
    return psgd_fail(PSGD_ERR_FILE, "cannot %s '%s': %s", doing, path, strerror(errno));
}

/* ---- read ---- */

static psgd_status_t read_all(int file, const char *path, unsigned char *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = read(file, bytes + done, count - done);

        if ((got < 0) && (errno != EINTR)) {
            return fail("read", path);
        }
        if (got == 0) {
            return psgd_fail(PSGD_ERR_FILE, "'%s' became shorter while it was read", path);
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return PSGD_OK;
}

psgd_status_t psgd_file_read(const char *path, unsigned char **bytes_p, size_t *count_p)
{
    unsigned char *bytes = NULL;
    struct stat    about;
    psgd_status_t  status;
    int            file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused below, not waited for */

    if (file < 0) {
        return fail("open", path);
    }
    if (fstat(file, &about) != 0) {
        status = fail("look at", path);
        goto close_file;
    }
    if (!S_ISREG(about.st_mode) || ((uint64_t)about.st_size > SIZE_MAX)) {
        status = psgd_fail(PSGD_ERR_FILE, "'%s' is no file that can be read at once", path);
        goto close_file;
    }
    status = psgd_alloc((size_t)about.st_size, 1, "the content of a file", &bytes);
    if (status == PSGD_OK) {
        status = read_all(file, path, bytes, (size_t)about.st_size);
    }
    if (status != PSGD_OK) {
        psgd_free(bytes);
        goto close_file;
    }
    *bytes_p = bytes;
    *count_p = (size_t)about.st_size;

close_file:
    close(file);
    return status;
}

/* ---- write ---- */

static psgd_status_t write_all(int file, const char *path, const unsigned char *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t put = write(file, bytes + done, count - done);

        if ((put < 0) && (errno != EINTR)) {
            return fail("write", path);
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return fsync(file) == 0 ? PSGD_OK : fail("sync", path);
}

static psgd_status_t write_temporary(const char *path, const unsigned char *bytes, size_t count)
{
    int           file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    psgd_status_t status;

    if (file < 0) {
        return fail("create", path);
    }
    status = write_all(file, path, bytes, count);
    if ((close(file) != 0) && (status == PSGD_OK)) {
        status = fail("close", path);
    }
    return status;
}

/* The directory of `path`, in place. */
static void cut_to_directory(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL) {
        memcpy(path, ".", 2);
    } else {
        slash[slash == path ? 1 : 0] = '\0';
    }
}

/* The name itself must be on the disk. */
static psgd_status_t sync_directory(char *directory)
{
    psgd_status_t status = PSGD_OK;
    int           file   = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (file < 0) {
        return fail("open the directory", directory);
    }
    if ((fsync(file) != 0) && (errno != EINVAL)) { /* some file systems cannot */
        status = fail("sync the directory", directory);
    }
    close(file);
    return status;
}

psgd_status_t psgd_file_write(const char *path, const void *bytes, size_t count)
{
    size_t        length = strlen(path);
    char         *name   = NULL; /* of the temporary file, then of the directory */
    psgd_status_t status = psgd_alloc(length + sizeof(".new") + 1, 1, "the name of a file", &name);

    if (status != PSGD_OK) {
        return status;
    }
    snprintf(name, length + sizeof(".new"), "%s.new", path);
    status = write_temporary(name, bytes, count);
    if ((status == PSGD_OK) && (rename(name, path) != 0)) {
        status = fail("put in its place", path);
    }
    if (status != PSGD_OK) {
        unlink(name);
        psgd_free(name);
        return status;
    }
    memcpy(name, path, length + 1);
    cut_to_directory(name);
    status = sync_directory(name);
    psgd_free(name);
    return status;
}

bool psgd_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

void psgd_file_remove(const char *path)
{
    unlink(path);
}
