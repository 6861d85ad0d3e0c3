/* Moves the wall clock of Python programs by the seconds in the file named by CLOCK_SHIFT_FILE (int64, native order);
 * the clocks of waiting stay as they are. Loaded with LD_PRELOAD by benchmarks/faults/clocks.py, for row 25. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*Gettime)(clockid_t, struct timespec *);

static volatile const int64_t *shift;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("CLOCK_SHIFT_FILE");
  /* Envoy and Triton wait by absolute wall time in the kernel, which knows nothing of this. */
  if (path == NULL || strncmp(program_invocation_short_name, "python", 6) != 0) return;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) shift = mapped;
}

int clock_gettime(clockid_t id, struct timespec *to) {
  static Gettime real;
  if (real == NULL) real = (Gettime)dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, to);
  if (result == 0 && shift != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) to->tv_sec += *shift;
  return result;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != NULL) *to = now.tv_sec;
  return now.tv_sec;
}
