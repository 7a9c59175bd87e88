/*
 * fuzz_frame.c: any bytes as a control packet. What is accepted encodes to the same bytes again, so there
 * is one way to say each thing; what is refused leaves the frame alone and says why.
 */
#include "common/compat.h"
#include "common/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct frame f = {.generation = 0x5a5a, .redis_id = -7};
    struct cb_error err = {0};
    unsigned char again[FRAME_MAX];

    if (frame_decode(data, len, &f, &err) < 0) {
        cb_assert(err.code == EBADMSG && err.text[0]);
        cb_assert(f.generation == 0x5a5a && f.redis_id == -7);
        return 0;
    }
    cb_assert(strcmp(frame_name(f.type), "unknown") != 0);
    cb_assert(frame_encode(&f, again) == len);
    cb_assert(memcmp(again, data, len) == 0);
    return 0;
}
