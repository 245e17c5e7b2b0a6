/* FreeSWITCH's messages, taken from a recorded call: whole texts in which a call's own values are written over. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include <stddef.h>
#include <stdint.h>

#define UUID_LENGTH 36
#define AGENT_LENGTH 4
#define STAMP_LENGTH 16
#define MOST_TOKEN 20

enum message { CHANNEL_DATA, RINGING, ANSWERED, LINGER, ENDED, MESSAGES };

struct values {
    char channel[UUID_LENGTH], other[UUID_LENGTH], event[UUID_LENGTH];
    char agent[AGENT_LENGTH];
    const char *token;
};

/* Reads FOLDER/0 to FOLDER/4; in them a run of one control character (1 to 6) stands for a value of that length. */
void load_messages(const char *folder, size_t token_length);

/* The message with this call's values; good until the next use of the same message. */
const char *message_for(enum message which, const struct values *values, size_t *length);

#endif
