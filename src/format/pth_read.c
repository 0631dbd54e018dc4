/* Reading torch.save files. */
#include "format/tensors.h"

bool dn_pth_is_zip(struct span file)
{
    return dn_span_starts(file, "PK\x03\x04") || dn_span_starts(file, "PK\x05\x06");
}

bool dn_pth_is_stream(struct span file)
{
    /* PROTO 2, LONG1 of ten bytes: 0x1950a86a20f9469cfc6c, STOP */
    return dn_span_starts(file, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
}

bool dn_pth_read(struct tensors *t, size_t map, const char *name, struct dino_error *err)
{
    (void)t;
    (void)map;
    return dn_fail(err, DINO_EUNSUPPORTED, "%s: torch.save files are not read yet", name);
}
