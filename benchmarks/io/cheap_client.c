/* The client that all servers are measured with, and the limit that all receivers are measured against.

   cheap_client PLAN FILE FD...
   PLAN: records of what to ask on which of the sockets, in order. FILE: where bodies go, with a thread for each socket
   that does recv and pwrite; "-" drops them in the kernel, with one thread for all that never lets a server wake it:
   it looks at all sockets, and sleeps for a moment when nothing came. Waking a client for each segment would cost a
   server as much as sending. Prints a line of JSON. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 256 << 10,
    DROP_BYTES = 1 << 20,
    HEAD_BYTES_MAX = 16 << 10,
    SOCKETS_MAX = 1024,
    PAUSE_US = 30,
};

struct __attribute__((packed)) record {
    uint32_t socket;        /* number of the socket, from 0 */
    uint32_t request_bytes; /* of the request that follows this record */
    uint32_t head_bytes;    /* of the frame before the body; 0: an HTTP head */
    uint8_t frame[2];       /* how that frame begins */
    uint64_t body_bytes;
    uint64_t place; /* of the body in FILE */
};

struct lane {
    uint32_t number;
    int fd, file, flags;
    const char *at, *end;
    struct record asked;
    uint64_t left, moved;
    enum { NEXT, HEAD, BODY, DONE } phase;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void refused(const char *data, int count) {
    fprintf(stderr, "refused: %.*s\n", count, data);
    exit(1);
}

/* Send the lane's next request; it is done when there is none. */
static void ask(struct lane *lane) {
    while (lane->at < lane->end) {
        memcpy(&lane->asked, lane->at, sizeof lane->asked);
        const char *request = lane->at + sizeof lane->asked;
        lane->at = request + lane->asked.request_bytes;
        if (lane->asked.socket != lane->number) continue;
        ssize_t sent = send(lane->fd, request, lane->asked.request_bytes, MSG_NOSIGNAL);
        if (sent != (ssize_t)lane->asked.request_bytes) fail("the server takes no request");
        lane->phase = HEAD;
        lane->left = lane->asked.body_bytes;
        return;
    }
    lane->phase = DONE;
}

/* Take what precedes the body, if it is there. */
static int take_head(struct lane *lane) {
    char data[HEAD_BYTES_MAX];
    ssize_t seen = recv(lane->fd, data, sizeof data, MSG_PEEK | lane->flags);
    if (seen < 0 && errno == EAGAIN) return 0;
    if (seen <= 0) fail("the server closed the connection");
    ssize_t head = lane->asked.head_bytes;
    if (head) {
        if (seen >= 2 && memcmp(data, lane->asked.frame, 2)) refused("another frame", 13);
    } else {
        char *end = memmem(data, seen, "\r\n\r\n", 4);
        head = end ? end + 4 - data : seen + 1;
        if (end && (seen < 12 || memcmp(data, "HTTP/1.1 20", 11))) refused(data, 100);
        if (seen == HEAD_BYTES_MAX && !end) refused(data, 100);
    }
    if (seen < head) {
        usleep(PAUSE_US); /* the rest is on its way */
        return 1;
    }
    if (recv(lane->fd, data, head, 0) != head) fail("the head");
    lane->phase = BODY;
    return 1;
}

static void store(struct lane *lane, const char *data, ssize_t count) {
    uint64_t place = lane->asked.place + lane->asked.body_bytes - lane->left;
    while (count) {
        ssize_t part = pwrite(lane->file, data, count, place);
        if (part <= 0) fail("the file takes nothing");
        data += part;
        count -= part;
        place += part;
    }
}

/* Take some of the body, if it is there. */
static int take_body(struct lane *lane, char *buffer) {
    size_t most = buffer ? BUFFER_BYTES : DROP_BYTES;
    size_t wanted = lane->left < most ? lane->left : most;
    ssize_t count = recv(lane->fd, buffer, wanted, lane->flags | (buffer ? 0 : MSG_TRUNC));
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) fail("the body ended early");
    if (buffer) store(lane, buffer, count);
    lane->left -= count;
    if (!lane->left) {
        lane->moved += lane->asked.body_bytes;
        lane->phase = NEXT;
    }
    return 1;
}

static int advance(struct lane *lane, char *buffer) {
    if (lane->phase == NEXT) ask(lane);
    if (lane->phase == DONE) return 0;
    return lane->phase == HEAD ? take_head(lane) : take_body(lane, buffer);
}

static void *run_stored(void *given) {
    struct lane *lane = given;
    char *buffer = malloc(BUFFER_BYTES);
    if (!buffer) fail("memory");
    while (lane->phase != DONE) advance(lane, buffer);
    free(buffer);
    return NULL;
}

/* Where client and server share one core, waking up shall not take it from the server each time: at 30 us a third of the
   core went to the client. Real-time priorities, where nobody does that, stay as they are. */
static void be_patient_on_one_core(void) {
    cpu_set_t cores;
    struct sched_param usual = {0};
    if (sched_getaffinity(0, sizeof cores, &cores)) fail("the cores");
    if (CPU_COUNT(&cores) > 1 || sched_getscheduler(0) != SCHED_OTHER) return;
    if (sched_setscheduler(0, SCHED_BATCH, &usual)) fail("the scheduling class");
}

static void run_dropped(struct lane *lanes, int count) {
    prctl(PR_SET_TIMERSLACK, 1);
    be_patient_on_one_core();
    for (int open = count; open;) {
        int moved = 0;
        open = 0;
        for (int number = 0; number < count; number++) {
            moved += advance(&lanes[number], NULL);
            open += lanes[number].phase != DONE;
        }
        if (!moved && open) usleep(PAUSE_US);
    }
}

static double seconds(struct timeval time) { return time.tv_sec + time.tv_usec / 1e6; }

static char *read_plan(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    *count = ftell(file);
    char *data = malloc(*count + 1);
    rewind(file);
    if (!data || fread(data, 1, *count, file) != *count) fail(path);
    fclose(file);
    return data;
}

int main(int words, char **word) {
    int count = words - 3;
    if (count < 1 || count > SOCKETS_MAX) refused("cheap_client PLAN FILE FD...", 30);
    size_t plan_bytes;
    char *plan = read_plan(word[1], &plan_bytes);
    int stores = strcmp(word[2], "-");
    int file = stores ? open(word[2], O_WRONLY) : -1;
    if (stores && file < 0) fail(word[2]);
    static struct lane lanes[SOCKETS_MAX];
    static pthread_t threads[SOCKETS_MAX];
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int number = 0; number < count; number++) {
        lanes[number] = (struct lane){.number = number,
                                      .fd = atoi(word[number + 3]),
                                      .file = file,
                                      .flags = stores ? 0 : MSG_DONTWAIT,
                                      .at = plan,
                                      .end = plan + plan_bytes};
        if (stores && pthread_create(&threads[number], NULL, run_stored, &lanes[number])) fail("threads");
    }
    if (!stores) run_dropped(lanes, count);
    uint64_t moved = 0;
    for (int number = 0; number < count; number++) {
        if (stores) pthread_join(threads[number], NULL);
        moved += lanes[number].moved;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"seconds\": %.6f, \"cpu_s\": %.6f, \"bytes\": %llu}\n",
           ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9,
           seconds(used.ru_utime) + seconds(used.ru_stime), (unsigned long long)moved);
    return 0;
}
