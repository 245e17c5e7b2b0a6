/* The edge's part: each bridged call's permit is exchanged for the number over a few kept-alive HTTP connections. */
#ifndef PERMITS_H
#define PERMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERMIT_LENGTH 32
#define MOST_GATEWAY 64

struct redemption {
    uint32_t call, generation;
    char permit[PERMIT_LENGTH + 1], gateway[MOST_GATEWAY], sip_call[64], token[32], number[32];
};

/* Hears of the answer: status 200 with the right number, 1 with a wrong one, 0 without an answer, else HTTP's. */
typedef void (*redeemed)(uint32_t call, uint32_t generation, int status, int64_t took_ns);

void open_permits(int epoll, uint64_t mark, int port, const char *secret, int connections, redeemed tell);
bool redeem(const struct redemption *wanted); /* false: too many wait */
void permits_ready(uint32_t connection);

#endif
