/* Keeps the device busy without touching memory: a chain of shifts, each of which needs the one before it. */
kernel void spend_time(uint loops, global uint *ends)
{
    uint x = (uint)get_global_id(0) + 1u;

    for (uint i = 0; i < loops; ++i) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    ends[get_global_id(0)] = x;
}
