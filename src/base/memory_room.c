/* Linux tells: /proc/meminfo of the machine, the cgroup of a container. */
#include "base/memory_room.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* The number in a file of one, infinite where there is none ("max", or no file). */
static double number_in(const char *path)
{
    FILE *file = fopen(path, "re");
    double value;
    bool found = file && fscanf(file, "%lf", &value) == 1;

    if (file)
        fclose(file);
    return found ? value : INFINITY;
}

static double machine_memory(void)
{
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
}

double dn_memory_all(void)
{
    double second = number_in("/sys/fs/cgroup/memory.max");
    double first = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");

    return fmin(machine_memory(), fmin(first, second));
}

double dn_memory_room(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    double all = dn_memory_all(), kilobytes, room = INFINITY;
    char line[128];

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kilobytes) == 1)
            room = 1024 * kilobytes;
    if (file)
        fclose(file);
    double used = number_in("/sys/fs/cgroup/memory.current");
    double limit = number_in("/sys/fs/cgroup/memory.max");
    if (isfinite(used) && isfinite(limit))
        room = fmin(room, limit - used);
    return fmax(fmin(room, all), 0);
}
