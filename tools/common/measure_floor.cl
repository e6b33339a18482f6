/* Moves of memory, as fast as the device makes them: what a step is measured against.
 *
 * Each in two forms. `_chunks`: one work-item a work-group walks along a chunk of its own in vectors of 16, for CPUs.
 * `_strided`: neighbouring work-items take neighbouring vectors of 4 and step over the whole grid, for GPUs.
 * Counts are in vectors. */

/* ---- for CPUs ---- */

#define FOR_CHUNK(i_) \
    const ulong begin = (ulong)get_group_id(0) * chunk; \
    const ulong end   = min(begin + chunk, count); \
    for (ulong i_ = begin; i_ < end; ++i_)

/* a = a + b: reads two arrays, writes one */
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void add_chunks(ulong count, ulong chunk, global float16 *a,
                                                                      global const float16 *b)
{
    FOR_CHUNK(i)
    {
        a[i] += b[i];
    }
}

/* a = value: writes one */
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void fill_chunks(ulong count, ulong chunk, global float16 *a,
                                                                       float value)
{
    FOR_CHUNK(i)
    {
        a[i] = (float16)(value);
    }
}

/* b = a / 2, a = 1 - a / 2: reads one array, writes two */
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void split_chunks(ulong count, ulong chunk, global float16 *a,
                                                                        global float16 *b)
{
    FOR_CHUNK(i)
    {
        const float16 half_of_a = 0.5f * a[i];

        a[i] = 1.0f - half_of_a;
        b[i] = half_of_a;
    }
}

/* partials[group] = the sum of its chunk: reads one array. Four sums at a time hide what an addition takes. */
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void sum_chunks(ulong count, ulong chunk, global const float16 *a,
                                                                      global float *partials)
{
    const ulong begin = (ulong)get_group_id(0) * chunk;
    const ulong end   = min(begin + chunk, count);
    float16     s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
    ulong       i = begin;

    for (; i + 4 <= end; i += 4) {
        s0 += a[i];
        s1 += a[i + 1];
        s2 += a[i + 2];
        s3 += a[i + 3];
    }
    for (; i < end; ++i) {
        s0 += a[i];
    }
    s0 += s1 + (s2 + s3);
    const float8 s = s0.lo + s0.hi;
    const float4 t = s.lo + s.hi;
    partials[get_group_id(0)] = (t.x + t.y) + (t.z + t.w);
}

/* ---- for GPUs ---- */

kernel void add_strided(ulong count, global float4 *a, global const float4 *b)
{
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        a[i] += b[i];
    }
}

kernel void fill_strided(ulong count, global float4 *a, float value)
{
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        a[i] = (float4)(value);
    }
}

kernel void split_strided(ulong count, global float4 *a, global float4 *b)
{
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const float4 half_of_a = 0.5f * a[i];

        a[i] = 1.0f - half_of_a;
        b[i] = half_of_a;
    }
}

/* The sum of `mine` over the work-group, whose size is a power of two, in work-item 0. */
static float sum_of_group(float mine, local float *room)
{
    const size_t id = get_local_id(0);

    room[id] = mine;
    for (size_t half_size = get_local_size(0) / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_size) {
            room[id] += room[id + half_size];
        }
    }
    return room[0];
}

/* partials[group] = the sum of what the group passes */
kernel void sum_strided(ulong count, global const float4 *a, global float *partials, local float *room)
{
    float4 s = 0.0f;

    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        s += a[i];
    }
    const float sum = sum_of_group((s.x + s.y) + (s.z + s.w), room);
    if (get_local_id(0) == 0) {
        partials[get_group_id(0)] = sum;
    }
}

/* ---- for both ---- */

/* *total = the sum of the partials, in a fixed order; one work-group */
kernel void sum_partials(uint count, global const float *partials, global float *total, local float *room)
{
    float s = 0.0f;

    for (uint i = (uint)get_local_id(0); i < count; i += (uint)get_local_size(0)) {
        s += partials[i];
    }
    const float sum = sum_of_group(s, room);
    if (get_local_id(0) == 0) {
        *total = sum;
    }
}
