// For ROS 2 from wheels: a wait of Fast DDS that would spin for ever, waits.
//
// A participant's end waits, without a limit, for the discovery callbacks that still run. Built for
// an older glibc, as the wheels are, libstdc++ makes of "no limit" a date that has overflowed: the
// C library refuses it (EINVAL) without letting go of the mutex that the callback needs, and
// libfastdds tries again without end, in rclpy with Python's lock held. What distributions build has
// pthread_cond_clockwait, and waits. Loaded before the C library (LD_PRELOAD), this waits, too.

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

extern "C" int pthread_cond_timedwait(
  pthread_cond_t * condition, pthread_mutex_t * mutex, const timespec * end)
{
  using Wait = int (*)(pthread_cond_t *, pthread_mutex_t *, const timespec *);
  static const Wait real = reinterpret_cast<Wait>(dlsym(RTLD_NEXT, "pthread_cond_timedwait"));
  if (end->tv_sec < 0 && end->tv_nsec < 0) {
    return pthread_cond_wait(condition, mutex);
  }
  return real(condition, mutex, end);
}
