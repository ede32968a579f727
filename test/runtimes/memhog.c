/*
 * memhog: a process that runs out of memory when it is told to. The only program of the test image besides busybox.
 *
 *   memhog sleep                     until SIGTERM or SIGINT, then exits 0
 *   memhog exit CODE [AFTER_MS]      exits with CODE
 *   memhog hold MIB                  touches MIB, then sleeps as above
 *   memhog self MIB [AFTER_MS]       touches MIB; meant to be killed on the way
 *   memhog child MIB [N [EVERY_MS]]  has N children, one after the other, that touch MIB each; then sleeps as above
 *   memhog signal MIB [N [EVERY_MS]] sleeps as above; each SIGUSR1 makes it have N such children, SIGUSR2 does it itself
 *
 * For each child that was killed it prints the time at which it learned of it and the pid it had in here:
 *   killed 1763700000.123456 7
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&t, &t) < 0 && errno == EINTR) {
  }
}

static void touch(long mib) {
  for (long i = 0; i < mib; i++) {
    char *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) _exit(12);
    memset(p, 0xa5, 1 << 20);
  }
}

/* Waits for the child in a loop of its own so that the time of its death is known to the microsecond. */
static void touch_in_child(long mib) {
  pid_t child = fork();
  if (child == 0) {
    touch(mib);
    _exit(0);
  }
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (WIFSIGNALED(status)) printf("killed %ld.%06ld %d\n", (long)now.tv_sec, now.tv_nsec / 1000, child);
}

static void touch_in_children(long mib, long n, long every_ms) {
  for (long i = 0; i < (n > 0 ? n : 1); i++) {
    if (i > 0) sleep_ms(every_ms);
    touch_in_child(mib);
  }
}

static void never_called(int signal) { (void)signal; }

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "sleep";
  long first = argc > 2 ? atol(argv[2]) : 0, second = argc > 3 ? atol(argv[3]) : 0, third = argc > 4 ? atol(argv[4]) : 0;
  setvbuf(stdout, 0, _IOLBF, 0);

  /* Blocked and fetched with sigwait: none is lost, even if it comes before we wait. */
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGUSR2);
  sigprocmask(SIG_BLOCK, &signals, 0);
  /* Never called. Shows in SigCgt of /proc/PID/status that a signal is not lost any more. */
  signal(SIGUSR1, never_called);

  if (!strcmp(mode, "exit")) {
    sleep_ms(second);
    return (int)first;
  }
  if (!strcmp(mode, "self")) {
    sleep_ms(second);
    touch(first);
  }
  if (!strcmp(mode, "hold")) touch(first);
  if (!strcmp(mode, "child")) touch_in_children(first, second, third);
  for (;;) {
    int signal;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGTERM || signal == SIGINT) return 0;
    if (signal == SIGUSR1) touch_in_children(first, second, third);
    if (signal == SIGUSR2) touch(first);
  }
}
