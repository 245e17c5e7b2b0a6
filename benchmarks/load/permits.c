#include "permits.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define MOST_CONNECTIONS 64
#define MOST_WAITING 65536

static struct {
    int fd;
    bool busy;
    int64_t asked;
    struct redemption what;
    char answer[2048];
    size_t length;
} lines[MOST_CONNECTIONS];
static struct redemption *waiting;
static int64_t *since;
static uint32_t first, after;
static int line_count, epoll_fd, resolver_port;
static uint64_t line_mark;
static const char *bearer;
static redeemed on_answer;

static void dial(int n) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)resolver_port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    lines[n].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lines[n].fd < 0 || connect(lines[n].fd, (struct sockaddr *)&to, sizeof to)) die("resolver");
    setsockopt(lines[n].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = line_mark | (uint32_t)n};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lines[n].fd, &event)) die("epoll");
    lines[n].busy = false;
    lines[n].length = 0;
}

static void ask(int n) {
    char body[512], request[1024];
    if (lines[n].busy || first == after) return;
    uint32_t next = first++ % MOST_WAITING;
    lines[n].what = waiting[next];
    lines[n].asked = since[next];
    const struct redemption *what = &lines[n].what;
    int size = snprintf(body, sizeof body, "permit=%s&token=%s&gateway=%s&call=%s", what->permit, what->token, what->gateway,
                        what->sip_call);
    int length = snprintf(request, sizeof request,
                          "POST /redeem HTTP/1.1\r\nHost: resolver\r\nAuthorization: Bearer %s\r\n"
                          "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
                          bearer, size, body);
    lines[n].busy = true;
    if (send(lines[n].fd, request, (size_t)length, MSG_NOSIGNAL) != length) shutdown(lines[n].fd, SHUT_RDWR);
}

void open_permits(int epoll, uint64_t mark, int port, const char *secret, int connections, redeemed tell) {
    epoll_fd = epoll, line_mark = mark, resolver_port = port, bearer = secret, on_answer = tell;
    line_count = connections < MOST_CONNECTIONS ? connections : MOST_CONNECTIONS;
    waiting = calloc(MOST_WAITING, sizeof *waiting);
    since = calloc(MOST_WAITING, sizeof *since);
    if (!waiting || !since) die("memory");
    for (int n = 0; n < line_count; n++) dial(n);
}

bool redeem(const struct redemption *wanted) {
    if (after - first == MOST_WAITING) return false;
    waiting[after % MOST_WAITING] = *wanted;
    since[after++ % MOST_WAITING] = now_ns();
    for (int n = 0; n < line_count; n++) {
        if (!lines[n].busy) {
            ask(n);
            break;
        }
    }
    return true;
}

/* Returns the status of a whole answer, -1 while more must come. */
static int status_of(int n) {
    lines[n].answer[lines[n].length] = 0;
    char *end = strstr(lines[n].answer, "\r\n\r\n"), *size = strcasestr(lines[n].answer, "\r\nContent-Length:");
    if (!end || !size || size > end) return -1;
    size_t body = strtoul(size + 17, 0, 10);
    if (lines[n].length < (size_t)(end + 4 - lines[n].answer) + body) return -1;
    int status = atoi(lines[n].answer + sizeof "HTTP/1.1");
    const char *number = lines[n].what.number;
    return status == 200 && (strlen(number) != body || memcmp(end + 4, number, body)) ? 1 : status;
}

void permits_ready(uint32_t n) {
    ssize_t got = recv(lines[n].fd, lines[n].answer + lines[n].length, sizeof lines[n].answer - 1 - lines[n].length, 0);
    int status = 0;
    if (got > 0) {
        lines[n].length += (size_t)got;
        status = status_of((int)n);
        if (status < 0) return;
    }
    bool was_busy = lines[n].busy;
    lines[n].busy = false;
    lines[n].length = 0;
    if (was_busy) on_answer(lines[n].what.call, lines[n].what.generation, status, now_ns() - lines[n].asked);
    if (status != 200 && status != 1) { /* the resolver closes after anything but a number */
        close(lines[n].fd);
        dial((int)n);
    }
    ask((int)n);
}
