/* What psgd_device_selftest() and the tests ask of a device: its random numbers, and what it does to denormals. */
#include "random.clh"

#pragma OPENCL FP_CONTRACT OFF

/* Work-item i, for element first + i of one column: results[5 i ..] = the four Philox words, and the bits of the number. */
kernel void selftest_random(ulong key, ulong step, uint column, uint first, global uint *results)
{
    const uint i       = (uint)get_global_id(0);
    const uint element = first + i;

    vstore4(psgd_philox((uint4)(element, column, (uint)step, (uint)(step >> 32)), (uint2)((uint)key, (uint)(key >> 32))), 0,
            results + 5 * i);
    results[5 * i + 4] = as_uint(psgd_random_value(key, step, column, element));
}

/* The numbers 16 at a time: work-item i writes values[16 i ..]. */
kernel void selftest_random16(ulong key, ulong step, uint column, uint first, global float *values)
{
    const uint   i    = (uint)get_global_id(0);
    const uint16 next = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

    vstore16(psgd_random_value16(key, step, column, first + 16 * i + next), i, values);
}

/* Work-item i: products[i] = x[i] * y[i]. */
kernel void selftest_multiply(global const float *x, global const float *y, global float *products)
{
    const size_t i = get_global_id(0);

    products[i] = x[i] * y[i];
}
