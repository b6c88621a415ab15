/* Preloaded into the program, so that its wall clock is off by as many seconds as the file named by BOLO_TEST_CLOCK says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    const char *path = getenv("BOLO_TEST_CLOCK");
    if (failed || clock != CLOCK_REALTIME || !path) {
        return failed;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        char text[32] = {0};
        if (read(file, text, sizeof text - 1) > 0) {
            at->tv_sec += atol(text);
        }
        close(file);
    }
    return 0;
}
