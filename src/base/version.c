/* The version of the library that is loaded (declared in dino.h). */
#include "dino.h"

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *dino_version(void)
{
    return VERSION_TEXT(DINO_VERSION_MAJOR, DINO_VERSION_MINOR, DINO_VERSION_PATCH);
}
