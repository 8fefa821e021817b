// For ROS 2 from wheels: keeps Fast DDS from spinning for ever when a participant ends.
//
// When a participant ends, it waits without a limit for the running discovery callbacks. The wheels
// are built for an older glibc. There libstdc++ converts "no limit" to a date that overflows. The C
// library refuses this date (EINVAL) and does not release the mutex that the callback needs.
// libfastdds then retries for ever, and rclpy holds Python's lock meanwhile. Builds of the
// distributions use pthread_cond_clockwait, which waits correctly. This library is loaded before
// the C library (LD_PRELOAD) and waits without a limit when the date has overflowed.

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
