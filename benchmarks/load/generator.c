/*
 * FreeSWITCH's side of the outbound event socket, many times over, in one thread.
 *
 * Calls are begun at a given rate whatever becomes of earlier ones (open loop), and a hand-off's time counts from when
 * its call should have begun, so that a worker that stalls is charged for every call it kept waiting. A call parks,
 * answers what the worker asks, and when told to bridge has its permit redeemed as an edge would, rings, is answered,
 * talks and hangs up. SIGUSR1 ends the calls that are held. One line of JSON on stdout says what happened; with --held
 * a line comes as soon as every call is up.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "histogram.h"
#include "messages.h"
#include "permits.h"

#define MOST_CALLS 65536
#define READ_BYTES 65536
#define REPLY_BYTES 16384
#define MOST_FAILURES 64
#define PERMIT_MARK (UINT64_C(1) << 32)
#define AGENTS 500
#define SOURCES 5 /* loopback addresses to call from, so that ports never run short */

enum state { FREE, PARKED, BRIDGED, RING, TALK, OVER };

struct call {
    int fd;
    uint32_t generation;
    enum state state;
    bool lingers, left; /* asked to linger; said exit */
    int64_t began, told;
    char *rest; /* the beginning of a command whose end was not read yet */
    size_t rest_length;
    const char *number;
    struct values values;
};

/* Waits of one length: whoever began to wait first is done first. */
struct waits {
    int64_t length;
    uint32_t first, after;
    struct { int64_t due; uint32_t call, generation; } of[MOST_CALLS * 4];
};

static struct call calls[MOST_CALLS];
static uint32_t unused[MOST_CALLS], unused_count;
static struct waits patience, until_ringing, until_answer, until_hangup;
static struct histogram handoffs, redemptions, refusals, lateness;
static struct { char name[48]; uint64_t count; } failures[MOST_FAILURES];
static uint64_t begun, bridged, redeemed_count, answered, completed, failed, stuck, late, open_now, talking, most_open;
static char *tokens, *numbers;
static size_t token_count, token_length, stride;
static int epoll_fd, port;
static bool poisson, redeems;
static volatile sig_atomic_t end_held;
static int64_t measure_from;
static uint64_t seed;

static void fail(const char *kind) {
    failed++;
    for (int n = 0; n < MOST_FAILURES; n++) {
        if (!failures[n].count) snprintf(failures[n].name, sizeof failures[n].name, "%s", kind);
        if (!strcmp(failures[n].name, kind)) {
            failures[n].count++;
            return;
        }
    }
}

static uint64_t draw(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static void wait_for(struct waits *waits, uint32_t n) {
    uint32_t at = waits->after++ % (MOST_CALLS * 4);
    waits->of[at].due = now_ns() + waits->length;
    waits->of[at].call = n;
    waits->of[at].generation = calls[n].generation;
}

static void end_call(uint32_t n) {
    struct call *call = &calls[n];
    if (call->state == TALK) talking--;
    close(call->fd);
    free(call->rest);
    call->rest = NULL;
    call->rest_length = 0;
    call->state = FREE;
    call->generation++;
    unused[unused_count++] = n;
    open_now--;
}

static void fail_call(uint32_t n, const char *kind) {
    fail(kind);
    end_call(n);
}

static bool say(uint32_t n, const char *text, size_t length) {
    /* Nobody reads as little as a socket's buffer holds for long: a worker that lets it fill up has stopped. */
    if (send(calls[n].fd, text, length, MSG_NOSIGNAL) == (ssize_t)length) return true;
    fail_call(n, "worker_reads_nothing");
    return false;
}

static bool say_message(uint32_t n, enum message which) {
    size_t length;
    const char *text = message_for(which, &calls[n].values, &length);
    return say(n, text, length);
}

static void begin_call(int64_t intended) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    begun++;
    if (!unused_count) {
        fail("generator_full");
        return;
    }
    uint32_t n = unused[--unused_count];
    struct call *call = &calls[n];
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(begun % SOURCES));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    call->state = PARKED, call->lingers = call->left = false, call->began = intended, call->told = 0;
    if (++open_now > most_open) most_open = open_now;
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (call->fd < 0) die("socket");
    setsockopt(call->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(call->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    char uuid[UUID_LENGTH + 1];
    snprintf(uuid, sizeof uuid, "%08x-%04x-4000-8000-%012llx", (uint32_t)(draw() >> 32), (unsigned)(seed & 0xffff),
             (unsigned long long)begun & 0xffffffffffffULL);
    memcpy(call->values.channel, uuid, UUID_LENGTH);
    uuid[14] = '5'; /* the customer's leg */
    memcpy(call->values.other, uuid, UUID_LENGTH);
    size_t line = draw() % token_count;
    call->values.token = tokens + line * stride;
    call->number = numbers + line * stride;
    snprintf(uuid, sizeof uuid, "%04d", (int)(1000 + draw() % AGENTS));
    memcpy(call->values.agent, uuid, AGENT_LENGTH);
    if (intended >= measure_from) add(&lateness, now_ns() - intended);
    if (connect(call->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        fail_call(n, "not_connected");
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = n};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, call->fd, &event)) die("epoll");
    wait_for(&patience, n);
}

/* Copies what stands between two texts; false when it is not there or too long. */
static bool between(const char *text, const char *before, const char *ends, char *into, size_t size) {
    const char *from = strstr(text, before);
    if (!from) return false;
    from += strlen(before);
    size_t length = strcspn(from, ends);
    if (length >= size) return false;
    memcpy(into, from, length);
    into[length] = 0;
    return true;
}

static void bridge(uint32_t n, const char *command) {
    struct call *call = &calls[n];
    char event[UUID_LENGTH + 1];
    int64_t took = now_ns() - call->began;
    if (call->state != PARKED) return; /* another attempt of the same call */
    bridged++;
    call->state = BRIDGED;
    late += took > 2 * SECOND;
    if (call->began >= measure_from) add(&handoffs, took);
    memset(call->values.event, '0', UUID_LENGTH);
    if (between(command, "Event-UUID: ", "\n", event, sizeof event) && strlen(event) == UUID_LENGTH)
        memcpy(call->values.event, event, UUID_LENGTH);
    if (!redeems) {
        wait_for(&until_ringing, n);
        return;
    }
    struct redemption what = {.call = n, .generation = call->generation};
    snprintf(what.token, sizeof what.token, "%s", call->values.token);
    snprintf(what.number, sizeof what.number, "%s", call->number);
    bool whole = between(command, "sip_h_X-Shield-Permit=", ",]\n", what.permit, sizeof what.permit) &&
                 between(command, "sip_h_X-Shield-Gateway=", ",]\n", what.gateway, sizeof what.gateway) &&
                 between(command, "sip_invite_call_id=", ",]\n", what.sip_call, sizeof what.sip_call);
    if (whole) whole = redeem(&what);
    (void)whole; /* a call without a permit stays as it is until patience ends: never_redeemed */
}

static void when_redeemed(uint32_t n, uint32_t generation, int status, int64_t took_ns) {
    char kind[48];
    if (status == 200) redeemed_count++;
    if (calls[n].generation != generation || calls[n].state != BRIDGED) return;
    if (calls[n].began >= measure_from) add(&redemptions, took_ns);
    snprintf(kind, sizeof kind, status == 1 ? "wrong_number" : "redeem_%d", status);
    if (status == 200)
        wait_for(&until_ringing, n);
    else
        fail_call(n, kind);
}

/* Writes the reply to one command as mod_event_socket does; false when the call has ended with it. */
static bool answer(uint32_t n, const char *command, char *reply, size_t *length) {
    static const char said[] = "Content-Type: command/reply\nReply-Text: ", printed[] = "Content-Type: api/response\nContent-Length: ";
    struct call *call = &calls[n];
    char app[64] = "", kind[48], *end = reply + *length;
    size_t room = REPLY_BYTES - *length;
    if (room < 1024) return true;
    if (!strncmp(command, "connect", 7)) {
        return say_message(n, CHANNEL_DATA);
    } else if (!strncmp(command, "api ", 4)) {
        const char *body = strstr(command, "getvar") ? "-ERR No such channel!\n"
                           : !strncmp(command, "api sched_del", 13) ? "+OK Deleted: 1\n" : "+OK\n";
        *length += (size_t)snprintf(end, room, "%s%zu\n\n%s", printed, strlen(body), body);
    } else if (!strncmp(command, "linger", 6)) {
        call->lingers = true;
        *length += (size_t)snprintf(end, room, "%s+OK will linger\n\n", said);
    } else if (!strncmp(command, "filter", 6)) {
        *length += (size_t)snprintf(end, room, "%s+OK filter added. [Unique-ID]=[%.36s]\n\n", said, call->values.channel);
    } else if (!strncmp(command, "event", 5) || !strncmp(command, "myevents", 8)) {
        *length += (size_t)snprintf(end, room, "%s+OK event listener enabled plain\n\n", said);
    } else if (!strncmp(command, "exit", 4)) {
        call->left = true;
        *length += (size_t)snprintf(end, room, "%s+OK bye\n\n", said);
    } else if (!strncmp(command, "sendmsg", 7)) {
        between(command, "execute-app-name: ", "\n", app, sizeof app);
        if (!strcmp(app, "bridge")) {
            *length += (size_t)snprintf(end, room, "%s+OK\n\n", said);
            bridge(n, command);
        } else if (!strcmp(app, "respond") || !app[0]) {
            snprintf(kind, sizeof kind, "hung_up");
            if (app[0]) {
                char code[4] = "";
                snprintf(code, sizeof code, "%s", strstr(command, "execute-app-arg: ") ? strstr(command, "execute-app-arg: ") + 17 : "");
                snprintf(kind, sizeof kind, "refused_%s", code);
                if (call->began >= measure_from) add(&refusals, now_ns() - call->began);
            }
            fail_call(n, kind);
            return false;
        } else {
            *length += (size_t)snprintf(end, room, "%s+OK\n\n", said);
        }
    } else {
        *length += (size_t)snprintf(end, room, "%s-ERR command not found\n\n", said);
    }
    return true;
}

/* The connection is at its end: well if the call is, too. */
static void part(uint32_t n, const char *otherwise) {
    if (calls[n].state != OVER) {
        fail_call(n, otherwise);
        return;
    }
    completed++;
    end_call(n);
}

static void read_commands(uint32_t n) {
    static char text[READ_BYTES * 2 + 1], reply[REPLY_BYTES];
    struct call *call = &calls[n];
    size_t length = call->rest_length, replied = 0;
    memcpy(text, call->rest ? call->rest : "", length);
    ssize_t got = recv(call->fd, text + length, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        part(n, got < 0 ? "not_connected" : "closed_early");
        return;
    }
    length += (size_t)got;
    text[length] = 0;
    char *at = text, *end;
    while ((end = strstr(at, "\n\n"))) {
        *end = 0;
        while (*at == '\n') at++;
        if (*at && !answer(n, at, reply, &replied)) return;
        at = end + 2;
    }
    length -= (size_t)(at - text);
    if (length > READ_BYTES) {
        fail_call(n, "endless_command");
        return;
    }
    free(call->rest);
    call->rest = length ? malloc(length) : NULL;
    call->rest_length = length;
    if (length) memcpy(call->rest, at, length);
    if (replied && say(n, reply, replied) && call->left) part(n, "left_early");
}

static void hang_up(uint32_t n) {
    struct call *call = &calls[n];
    talking--;
    call->state = OVER;
    if (call->lingers && !say_message(n, LINGER)) return;
    if (!say_message(n, ENDED)) return;
    if (!call->lingers) shutdown(call->fd, SHUT_WR);
    wait_for(&patience, n);
}

static void lost_patience(uint32_t n) {
    static const char *const kinds[] = {[PARKED] = "never_bridged", [BRIDGED] = "never_redeemed", [OVER] = "never_closed"};
    enum state state = calls[n].state;
    if (state != PARKED && state != BRIDGED && state != OVER) return;
    stuck++;
    fail_call(n, kinds[state]);
}

static void rings(uint32_t n) {
    calls[n].state = RING;
    if (say_message(n, RINGING)) wait_for(&until_answer, n);
}

static void answers(uint32_t n) {
    calls[n].state = TALK;
    answered++;
    talking++;
    if (say_message(n, ANSWERED)) wait_for(&until_hangup, n);
}

static void talked(uint32_t n) {
    if (calls[n].state == TALK) hang_up(n);
}

/* Does what is due; returns when the next is. */
static int64_t pass(struct waits *waits, void (*then)(uint32_t), bool all) {
    while (waits->first != waits->after) {
        uint32_t at = waits->first % (MOST_CALLS * 4);
        if (!all && waits->of[at].due > now_ns()) return waits->of[at].due;
        waits->first++;
        if (calls[waits->of[at].call].generation == waits->of[at].generation) then(waits->of[at].call);
    }
    return INT64_MAX;
}

static void load_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    char line[128];
    size_t room = 1 << 16;
    stride = MOST_TOKEN + 1;
    tokens = malloc(room * stride);
    numbers = malloc(room * stride);
    if (!file) die(path);
    while (fgets(line, sizeof line, file)) {
        if (token_count == room) {
            room *= 2;
            tokens = realloc(tokens, room * stride);
            numbers = realloc(numbers, room * stride);
        }
        char *number = strchr(line, ',');
        line[strcspn(line, ",\n")] = 0;
        if (number) number[1 + strcspn(number + 1, "\n")] = 0;
        if (!token_count) token_length = strlen(line);
        if (strlen(line) != token_length || token_length > MOST_TOKEN) die("tokens are not all of one length");
        snprintf(tokens + token_count * stride, stride, "%s", line);
        snprintf(numbers + token_count * stride, stride, "%s", number ? number + 1 : "");
        token_count++;
    }
    fclose(file);
    if (!token_count) die("no tokens");
}

static char *first_line(const char *path) {
    static char line[256];
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file)) die(path);
    fclose(file);
    line[strcspn(line, "\n")] = 0;
    return line;
}

static void print_done(double wall_s) {
    printf("{\"event\": \"done\", \"begun\": %llu, \"bridged\": %llu, \"redeemed\": %llu, \"answered\": %llu, \"completed\": %llu, \"failed\": %llu, "
           "\"stuck\": %llu, \"later_than_2s\": %llu, \"most_open\": %llu, \"tokens\": %zu, \"wall_s\": %.3f, \"cpu_s\": %.3f, ",
           (unsigned long long)begun, (unsigned long long)bridged, (unsigned long long)redeemed_count, (unsigned long long)answered,
           (unsigned long long)completed, (unsigned long long)failed, (unsigned long long)stuck, (unsigned long long)late,
           (unsigned long long)most_open, token_count, wall_s, cpu_s());
    print_histogram("handoff", &handoffs);
    printf(", ");
    print_histogram("redeem", &redemptions);
    printf(", ");
    print_histogram("refusal", &refusals);
    printf(", ");
    print_histogram("begun_late", &lateness);
    printf(", \"failures\": {");
    for (int n = 0; n < MOST_FAILURES && failures[n].count; n++)
        printf("%s\"%s\": %llu", n ? ", " : "", failures[n].name, (unsigned long long)failures[n].count);
    printf("}}\n");
}

static void on_signal(int number) {
    (void)number;
    end_held = 1;
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'}, {"messages", 1, 0, 'm'}, {"tokens", 1, 0, 't'}, {"rate", 1, 0, 'r'}, {"calls", 1, 0, 'c'},
        {"warm-up", 1, 0, 'w'}, {"ring-ms", 1, 0, 'R'}, {"answer-ms", 1, 0, 'A'}, {"hold-ms", 1, 0, 'H'},
        {"patience-ms", 1, 0, 'P'}, {"poisson", 0, 0, 'o'}, {"held", 0, 0, 'h'}, {"resolver", 1, 0, 'e'},
        {"secret", 1, 0, 's'}, {"connections", 1, 0, 'C'}, {0, 0, 0, 0}};
    const char *folder = NULL, *token_file = NULL, *secret = "";
    double rate = 28;
    uint64_t wanted = 280, warm_up = 0, ready = 0;
    int connections = 8, resolver_port = 0;
    bool held = false, told = false;
    until_ringing.length = 20 * SECOND / 1000, until_answer.length = 100 * SECOND / 1000;
    until_hangup.length = 500 * SECOND / 1000, patience.length = 10 * SECOND;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'm': folder = optarg; break;
        case 't': token_file = optarg; break;
        case 'r': rate = atof(optarg); break;
        case 'c': wanted = strtoull(optarg, 0, 10); break;
        case 'w': warm_up = strtoull(optarg, 0, 10); break;
        case 'R': until_ringing.length = atoll(optarg) * SECOND / 1000; break;
        case 'A': until_answer.length = atoll(optarg) * SECOND / 1000; break;
        case 'H': until_hangup.length = atoll(optarg) * SECOND / 1000; break;
        case 'P': patience.length = atoll(optarg) * SECOND / 1000; break;
        case 'o': poisson = true; break;
        case 'h': held = true; break;
        case 'e': resolver_port = atoi(optarg); break;
        case 's': secret = first_line(optarg); break;
        case 'C': connections = atoi(optarg); break;
        default: return 2;
        }
    }
    if (!port || !folder || !token_file || rate <= 0) {
        fprintf(stderr, "generator: --port, --messages, --tokens and a --rate above 0 are needed\n");
        return 2;
    }
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) die("getrandom");
    seed |= 1;
    raise_open_files();
    load_tokens(token_file);
    load_messages(folder, token_length);
    for (uint32_t n = 0; n < MOST_CALLS; n++) unused[unused_count++] = MOST_CALLS - 1 - n;
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll");
    if ((redeems = resolver_port != 0)) open_permits(epoll_fd, PERMIT_MARK, resolver_port, secret, connections, when_redeemed);
    signal(SIGUSR1, on_signal);
    int64_t started = now_ns(), next = started, due;
    measure_from = warm_up ? INT64_MAX : 0;
    for (;;) {
        while (begun < wanted && next <= now_ns()) {
            if (begun == warm_up) measure_from = next;
            begin_call(next);
            double gap = poisson ? -log(((double)(draw() >> 11) + 1) / 9007199254740993.0) : 1;
            next += (int64_t)(gap * (double)SECOND / rate);
        }
        due = begun < wanted ? next : INT64_MAX;
        int64_t others[] = {pass(&until_ringing, rings, false), pass(&until_answer, answers, false),
                            pass(&until_hangup, talked, end_held), pass(&patience, lost_patience, false)};
        for (size_t n = 0; n < sizeof others / sizeof *others; n++) due = others[n] < due ? others[n] : due;
        if (begun == wanted && !open_now) break;
        ready = talking + failed;
        if (held && !told && begun == wanted && ready == wanted) {
            printf("{\"event\": \"held\", \"open\": %llu}\n", (unsigned long long)talking);
            fflush(stdout);
            told = true;
        }
        struct epoll_event events[256];
        int64_t left = due - now_ns();
        struct timespec limit = {left / SECOND, left % SECOND};
        if (left < 0) limit = (struct timespec){0, 0};
        if (left > 3600 * SECOND) limit = (struct timespec){3600, 0};
        int count = epoll_pwait2(epoll_fd, events, 256, &limit, NULL);
        for (int n = 0; n < count; n++) {
            uint64_t who = events[n].data.u64;
            if (who & PERMIT_MARK)
                permits_ready((uint32_t)who);
            else if (calls[who].state != FREE)
                read_commands((uint32_t)who);
        }
    }
    print_done((double)(now_ns() - started) / 1e9);
    return 0;
}
