/* How much memory there is. */
#ifndef BASE_MEMORY_ROOM_H
#define BASE_MEMORY_ROOM_H

/* Bytes of the machine, or of the container that this process lives in. */
double dn_memory_all(void);
/* Bytes that can be had now without anybody being swapped out or killed; at most all. */
double dn_memory_room(void);

#endif
