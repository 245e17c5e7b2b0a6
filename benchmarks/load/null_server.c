/*
 * A worker that decides nothing: it answers each parked call with a recorded worker's commands, byte for byte as many
 * and as long. What the generator reaches here is what it can measure at most. Prints the port it listens on.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define MOST_FILES 65536

enum step { NEW, CONNECTED, PREPARED, GONE };
static struct { enum step step; } calls[MOST_FILES];
static char prepare[16384], bridge[16384];
static size_t prepare_length, bridge_length;

static size_t load(const char *path, char *into, size_t room) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    size_t length = fread(into, 1, room, file);
    fclose(file);
    return length;
}

static bool ends_with(const char *text, size_t length, const char *end) {
    return length >= strlen(end) && !memcmp(text + length - strlen(end), end, strlen(end));
}

/* Takes a step when the part of the conversation before it has been read; false when it is over. */
static bool step(int fd, char *text, size_t length) {
    const char *say = NULL;
    size_t size = 0;
    if (calls[fd].step == NEW && ends_with(text, length, "Control: full\n\n")) {
        say = prepare, size = prepare_length, calls[fd].step = CONNECTED;
    } else if (calls[fd].step == CONNECTED && ends_with(text, length, "+OK will linger\n\n")) {
        say = bridge, size = bridge_length, calls[fd].step = PREPARED;
    } else if (calls[fd].step == PREPARED && memmem(text, length, "\nEvent-Name: CHANNEL_HANGUP_COMPLETE\n", 37)) {
        say = "exit\n\n", size = 6, calls[fd].step = GONE;
    }
    return !say || (send(fd, say, size, MSG_NOSIGNAL) == (ssize_t)size && calls[fd].step != GONE);
}

int main(int argc, char **argv) {
    static char text[256 * 1024];
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t size = sizeof here;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), epoll = epoll_create1(0);
    if (argc != 3) {
        fprintf(stderr, "usage: null_server PREPARE BRIDGE (files of a worker's commands)\n");
        return 2;
    }
    prepare_length = load(argv[1], prepare, sizeof prepare);
    bridge_length = load(argv[2], bridge, sizeof bridge);
    raise_open_files();
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) die("listen");
    if (getsockname(listener, (struct sockaddr *)&here, &size)) die("getsockname");
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int n = 0; n < count; n++) {
            int fd = events[n].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    if (fd >= MOST_FILES) die("too many calls");
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    calls[fd].step = NEW;
                    event.data.fd = fd;
                    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) || send(fd, "connect\n\n", 9, MSG_NOSIGNAL) != 9) close(fd);
                }
                continue;
            }
            ssize_t got = recv(fd, text, sizeof text, 0);
            if (got <= 0 || !step(fd, text, (size_t)got)) close(fd);
        }
    }
}
