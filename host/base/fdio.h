/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole reads and writes, and files that appear whole or not at all. */
#ifndef BASE_FDIO_H
#define BASE_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Transfers all of len or fails with -errno; end of file early is -ENODATA. EINTR is handled. */
int fd_read_all(int fd, void *buf, size_t len) must_check;
int fd_write_all(int fd, const void *buf, size_t len) must_check;
int fd_pread_all(int fd, void *buf, size_t len, off_t offset) must_check;
int fd_pwrite_all(int fd, const void *buf, size_t len, off_t offset) must_check;

/* Opens a regular file for reading (O_CLOEXEC, never blocks on a FIFO); *size in bytes. what names it in errors: "kernel image". */
int file_open_regular(const char *what, const char *path, int flags, int *fd, uint64_t *size, struct err *e) must_check;

/* The same for a regular file or a block device, whose size is the device's. */
int file_open_storage(const char *what, const char *path, int flags, int *fd, uint64_t *size, struct err *e) must_check;
/* Of a regular file or a block device, in bytes; moves a device's position. -errno. */
int fd_size(int fd, uint64_t *size, bool *is_device) must_check;

/* Reads a whole regular file of at most max bytes; *data is malloc'ed, NUL-terminated beyond *len, the caller frees it. */
int file_read(const char *what, const char *path, size_t max, char **data, size_t *len, struct err *e) must_check;

/* Makes a rename in the directory of path durable. -errno. */
int fsync_parent(const char *path) must_check;

#endif
