/* A disk that fills up or gets slow under PostgreSQL: preloaded, told what to be by the file FAULTY_DISK names.
 *
 * "F": every write to the WAL finds the disk full (ENOSPC). "S 250": every fsync takes 250 ms longer. Anything else, or
 * no file: the disk is as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char wish(long *milliseconds)
{
    const char *path = getenv("FAULTY_DISK");
    char text[32] = "";
    int saved = errno, file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        ssize_t length = read(file, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(file);
    }
    errno = saved;
    if (milliseconds)
        *milliseconds = text[0] == 'S' ? atol(text + 1) : 0;
    return text[0];
}

static int is_full(int file)
{
    char link[64], path[4096];
    if (wish(NULL) != 'F')
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/pg_wal/") != NULL;
}

static void linger(void)
{
    long milliseconds;
    wish(&milliseconds);
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (milliseconds && nanosleep(&left, &left) && errno == EINTR)
        ;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WHEN_NOT_FULL(call) (is_full(file) ? (errno = ENOSPC, -1) : (call))

ssize_t write(int file, const void *data, size_t size) { return WHEN_NOT_FULL(syscall(SYS_write, file, data, size)); }

ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{
    return WHEN_NOT_FULL(syscall(SYS_pwrite64, file, data, size, at));
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at)
{
    return WHEN_NOT_FULL(syscall(SYS_pwrite64, file, data, size, at));
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at)
{
    return WHEN_NOT_FULL(REAL(pwritev)(file, parts, count, at));
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at)
{
    return WHEN_NOT_FULL(REAL(pwritev64)(file, parts, count, at));
}

int fsync(int file)
{
    linger();
    return REAL(fsync)(file);
}

int fdatasync(int file)
{
    linger();
    return REAL(fdatasync)(file);
}
