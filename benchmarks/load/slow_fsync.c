/*
 * LD_PRELOAD for PostgreSQL: each fsync and fdatasync takes as many microseconds longer as the first eight bytes of the
 * file that SLOW_FSYNC names say, as on a slower disk. The number may change while the server runs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile uint64_t *longer_us;
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("SLOW_FSYNC");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *longer_us, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) longer_us = page;
    close(fd);
}

static int slowed(int result) {
    uint64_t us = longer_us ? *longer_us : 0;
    struct timespec left = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
    int before = errno;
    while (us && nanosleep(&left, &left)) continue; /* the server's signals cut a sleep short */
    errno = before;
    return result;
}

int fsync(int fd) { return slowed(real_fsync(fd)); }

int fdatasync(int fd) { return slowed(real_fdatasync(fd)); }
