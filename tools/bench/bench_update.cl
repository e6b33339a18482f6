/* SGD with momentum, as a program has it that gets an update from the library: m = momentum m + u, x = x - rate m. */
kernel void momentum_step(uint count, global const float *updates, float momentum, float rate, global float *momenta,
                          global float *params)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        const float m = fma(momentum, momenta[id], updates[id]);

        momenta[id] = m;
        params[id]  = fma(-rate, m, params[id]);
    }
}
