/* Sends a file over SOCKETS connections of loopback with sendfile, held to a rate or not, and says what that cost:
   the least that a sender can do that lets out in each 10 ms what the rate allows in them.

   held_sender FILE BYTES BYTES_PER_S     BYTES_PER_S 0: not held. Prints seconds, CPU seconds and bytes as JSON. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 8, QUANTUM = 1 << 20 };
static const double STEP_S = 0.01;

static double seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_until(double at)
{
    struct timespec time = {(time_t)at, (long)((at - (time_t)at) * 1e9)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

/* The other end: drops all that comes in the kernel, until all connections are closed. */
static void drop(struct sockaddr_in where)
{
    struct pollfd polled[SOCKETS];
    int open_sockets = SOCKETS;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < SOCKETS; i++) {
        polled[i] = (struct pollfd){socket(AF_INET, SOCK_STREAM, 0), POLLIN, 0};
        if (connect(polled[i].fd, (struct sockaddr *)&where, sizeof where))
            err(1, "connect");
    }
    while (open_sockets && poll(polled, SOCKETS, -1) > 0)
        for (int i = 0; i < SOCKETS; i++)
            if (polled[i].fd >= 0 && polled[i].revents && recv(polled[i].fd, NULL, 1 << 22, MSG_TRUNC) <= 0) {
                close(polled[i].fd);
                polled[i].fd = -1;
                open_sockets--;
            }
    _exit(0);
}

int main(int count, char **words)
{
    if (count != 4)
        errx(2, "FILE BYTES BYTES_PER_S");
    int file = open(words[1], O_RDONLY), listener = socket(AF_INET, SOCK_STREAM, 0), sockets[SOCKETS];
    double wanted = atof(words[2]), rate = atof(words[3]), sent = 0;
    struct stat about;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof where;
    if (file < 0 || fstat(file, &about) || !about.st_size)
        err(1, "%s", words[1]);
    setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (bind(listener, (struct sockaddr *)&where, length) || listen(listener, SOCKETS)
        || getsockname(listener, (struct sockaddr *)&where, &length))
        err(1, "listen");
    if (!fork())
        drop(where);
    for (int i = 0; i < SOCKETS; i++)
        if ((sockets[i] = accept(listener, NULL, NULL)) < 0)
            err(1, "accept");
    off_t places[SOCKETS];
    for (int i = 0; i < SOCKETS; i++)
        places[i] = about.st_size / SOCKETS * i;
    size_t step = rate > 0 && rate * STEP_S < QUANTUM ? (size_t)(rate * STEP_S) : QUANTUM;
    double began = seconds(CLOCK_MONOTONIC), cpu_before = seconds(CLOCK_PROCESS_CPUTIME_ID), due = began;
    for (int turn = 0; sent < wanted; turn = (turn + 1) % SOCKETS) {
        for (size_t left = step; left;) {
            ssize_t done = sendfile(sockets[turn], file, &places[turn], left);
            if (done < 0)
                err(1, "sendfile");
            if (!done)
                places[turn] = 0;
            left -= done;
            sent += done;
        }
        if (rate > 0)
            sleep_until(due += step / rate);
    }
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_before, took = seconds(CLOCK_MONOTONIC) - began;
    for (int i = 0; i < SOCKETS; i++)
        close(sockets[i]);
    wait(NULL);
    printf("{\"seconds\": %.6f, \"cpu_s\": %.6f, \"bytes\": %.0f}\n", took, cpu, sent);
    return 0;
}
