/* Which picture libraries this program runs with, for `dino doctor`. */
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>

#include "image/image.h"

bool dn_image_codec(int index, char key[64], char value[256])
{
    int webp = WebPGetDecoderVersion();

    switch (index) {
    case 0:
        snprintf(key, 64, "jpeg");
        snprintf(value, 256, "libjpeg-turbo %d.%d.%d", LIBJPEG_TURBO_VERSION_NUMBER / 1000000,
                 LIBJPEG_TURBO_VERSION_NUMBER / 1000 % 1000,
                 LIBJPEG_TURBO_VERSION_NUMBER % 1000);
        return true;
    case 1:
        snprintf(key, 64, "png");
        snprintf(value, 256, "libpng %s", png_get_libpng_ver(NULL));
        return true;
    case 2:
        snprintf(key, 64, "webp");
        snprintf(value, 256, "libwebp %d.%d.%d", webp >> 16, webp >> 8 & 255, webp & 255);
        return true;
    default:
        return false;
    }
}
