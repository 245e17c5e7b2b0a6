#include "messages.h"

#include "common.h"

#define MOST_SLOTS 256

struct slot {
    size_t at;
    char kind; /* 1 channel, 2 token, 3 event, 4 other leg, 5 agent, 6 time in microseconds */
};

static struct {
    char *text;
    size_t length, slot_count;
    struct slot slots[MOST_SLOTS];
} messages[MESSAGES];
static size_t lengths[7] = {0, UUID_LENGTH, 0, UUID_LENGTH, UUID_LENGTH, AGENT_LENGTH, STAMP_LENGTH};

static void load(enum message which, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    char *text = malloc(256 * 1024);
    size_t length = fread(text, 1, 256 * 1024, file);
    fclose(file);
    messages[which].text = text;
    messages[which].length = length;
    for (size_t at = 0; at < length;) {
        char kind = text[at];
        if (kind < 1 || kind > 6) {
            at++;
            continue;
        }
        if (messages[which].slot_count == MOST_SLOTS) die("too many values in a message");
        messages[which].slots[messages[which].slot_count++] = (struct slot){at, kind};
        at += lengths[(int)kind];
    }
}

void load_messages(const char *folder, size_t token_length) {
    lengths[2] = token_length;
    for (int which = 0; which < MESSAGES; which++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", folder, which);
        load((enum message)which, path);
    }
}

const char *message_for(enum message which, const struct values *values, size_t *length) {
    struct timespec now;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(stamp, sizeof stamp, "%lld%06ld", (long long)now.tv_sec, now.tv_nsec / 1000);
    const char *texts[7] = {0, values->channel, values->token, values->event, values->other, values->agent, stamp};
    for (size_t n = 0; n < messages[which].slot_count; n++) {
        struct slot slot = messages[which].slots[n];
        memcpy(messages[which].text + slot.at, texts[(int)slot.kind], lengths[(int)slot.kind]);
    }
    *length = messages[which].length;
    return messages[which].text;
}
