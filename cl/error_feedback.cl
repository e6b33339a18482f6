/* Error feedback: M = g + e, left in the gradient buffer.
 *
 * One addition, rounded once; nothing for a compiler to fuse. One-dimensional: `elems` elements, where a work-item
 * takes `elems_per_item` consecutive ones: a long run on a CPU, one vector on a GPU, so that neighbours read
 * neighbouring memory. The buffers are the caller's: they begin at any element offset, so vectors are loaded by vloadn,
 * which asks for no more alignment than an element has. */
#pragma OPENCL FP_CONTRACT OFF

/* Elements of one vector: 4, 8 or 16. */
#ifndef PSGD_WIDTH
#define PSGD_WIDTH 16
#endif

#define PSGD_PASTE_(a_, b_) a_##b_
#define PSGD_PASTE(a_, b_)  PSGD_PASTE_(a_, b_)
#define VLOAD               PSGD_PASTE(vload, PSGD_WIDTH)
#define VSTORE              PSGD_PASTE(vstore, PSGD_WIDTH)

kernel void error_feedback_add(ulong elems, ulong elems_per_item, global float *grad_mem, ulong grad_offset,
                               global const float *error_mem, ulong error_offset)
{
    const ulong         begin = (ulong)get_global_id(0) * elems_per_item;
    const ulong         end   = min(begin + elems_per_item, elems);
    global float       *grad  = grad_mem + grad_offset;
    global const float *error = error_mem + error_offset;
    ulong               i;

    for (i = begin; i + PSGD_WIDTH <= end; i += PSGD_WIDTH) {
        VSTORE(VLOAD(0, grad + i) + VLOAD(0, error + i), 0, grad + i);
    }
    for (; i < end; ++i) {
        grad[i] += error[i];
    }
}
