/* A PKCS#11 module that forwards to another one (SHIM_TARGET) and misbehaves as the file SHIM_CONTROL says.
 *
 * Its first line is a number; when that changes, what was counted begins anew. Each further line: FUNCTION ACTION VALUE COUNT
 *   fail RV       returns RV (hexadecimal) without forwarding
 *   sleep MS      forwards after so many milliseconds
 *   hang 0        forwards once the number in the first line is another
 *   lose 0        closes all sessions of the slot, then forwards
 *   flags MASK    sets these flags (hexadecimal) in what C_GetTokenInfo says
 *   empty 0       C_GetSlotList says there is none
 * COUNT is for how many calls; 0 is for all. Every call is written to SHIM_LOG: its name and, of C_Initialize, the flags.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef ulong_t (*call_t)(ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t);
struct function_list { unsigned char version[2]; call_t calls[68]; };

enum { INITIALIZE = 0, FINALIZE = 1, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_ALL = 14, LOGIN = 18,
       DESTROY = 22, FIND_INIT = 26, ENCRYPT_INIT = 29, ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34, GENERATE = 58 };
enum { TOKEN_INFO_FLAGS = 96 };

static struct function_list ours, *theirs;
static int counted[68], epoch = -1;
static ulong_t slot;

static int read_control(char *text, int size) {
    const char *path = getenv("SHIM_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int length = file < 0 ? 0 : (int)read(file, text, size - 1);
    if (file >= 0) close(file);
    text[length > 0 ? length : 0] = 0;
    return atoi(text);
}

static void note(const char *name, ulong_t value) {
    char line[64];
    const char *path = getenv("SHIM_LOG");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    int length = snprintf(line, sizeof line, "%s %lx\n", name, value);
    if (file >= 0 && write(file, line, length) != length) abort();
    if (file >= 0) close(file);
}

static ulong_t forward(int at, const char *name, ulong_t a, ulong_t b, ulong_t c, ulong_t d, ulong_t e, ulong_t f) {
    char text[1024], function[64], action[16];
    int now = read_control(text, sizeof text), most;
    ulong_t value, result;
    note(name, at == INITIALIZE && a ? ((ulong_t *)a)[4] : 0);
    if (now != epoch) { epoch = now; memset(counted, 0, sizeof counted); }
    const char *line = strchr(text, '\n');
    int told = 0;
    for (; line; line = strchr(line + 1, '\n')) {
        if (sscanf(line, " %63s %15s %lx %d", function, action, &value, &most) == 4 && !strcmp(function, name)) {
            told = most == 0 || counted[at]++ < most;
            break;
        }
    }
    if (told && !strcmp(action, "fail")) return value;
    if (told && !strcmp(action, "sleep")) usleep(1000 * strtoul(strstr(line, "sleep") + 5, NULL, 10));
    if (told && !strcmp(action, "hang")) while (read_control(text, sizeof text) == now) usleep(2000);
    if (told && !strcmp(action, "lose")) theirs->calls[CLOSE_ALL](slot, 0, 0, 0, 0, 0, 0, 0);
    if (at == OPEN_SESSION) slot = a;
    result = theirs->calls[at](a, b, c, d, e, f, 0, 0);
    if (told && !strcmp(action, "flags")) *(ulong_t *)(b + TOKEN_INFO_FLAGS) |= value;
    if (told && !strcmp(action, "empty")) *(ulong_t *)c = 0;
    return result;
}

#define FORWARD(AT, NAME) \
    static ulong_t NAME(ulong_t a, ulong_t b, ulong_t c, ulong_t d, ulong_t e, ulong_t f, ulong_t g, ulong_t h) { \
        (void)g; (void)h; return forward(AT, #NAME, a, b, c, d, e, f); }
FORWARD(INITIALIZE, C_Initialize)
FORWARD(FINALIZE, C_Finalize)
FORWARD(GET_SLOT_LIST, C_GetSlotList)
FORWARD(GET_TOKEN_INFO, C_GetTokenInfo)
FORWARD(OPEN_SESSION, C_OpenSession)
FORWARD(LOGIN, C_Login)
FORWARD(DESTROY, C_DestroyObject)
FORWARD(FIND_INIT, C_FindObjectsInit)
FORWARD(ENCRYPT_INIT, C_EncryptInit)
FORWARD(ENCRYPT, C_Encrypt)
FORWARD(DECRYPT_INIT, C_DecryptInit)
FORWARD(DECRYPT, C_Decrypt)
FORWARD(GENERATE, C_GenerateKey)

ulong_t C_GetFunctionList(struct function_list **list) {
    void *module = dlopen(getenv("SHIM_TARGET"), RTLD_NOW | RTLD_LOCAL);
    ulong_t (*get)(struct function_list **) = module ? (ulong_t (*)(struct function_list **))dlsym(module, "C_GetFunctionList") : NULL;
    if (!get || get(&theirs)) return 5;
    ours = *theirs;
    ours.calls[INITIALIZE] = C_Initialize; ours.calls[FINALIZE] = C_Finalize; ours.calls[GET_SLOT_LIST] = C_GetSlotList;
    ours.calls[GET_TOKEN_INFO] = C_GetTokenInfo; ours.calls[OPEN_SESSION] = C_OpenSession; ours.calls[LOGIN] = C_Login;
    ours.calls[DESTROY] = C_DestroyObject; ours.calls[FIND_INIT] = C_FindObjectsInit;
    ours.calls[ENCRYPT_INIT] = C_EncryptInit; ours.calls[ENCRYPT] = C_Encrypt; ours.calls[DECRYPT_INIT] = C_DecryptInit;
    ours.calls[DECRYPT] = C_Decrypt; ours.calls[GENERATE] = C_GenerateKey;
    *list = &ours;
    return 0;
}
