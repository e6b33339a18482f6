/* SGD with momentum, over all parameters at once:
 *
 *   velocity  = momentum * velocity + update
 *   parameter = parameter - rate * velocity
 *
 * Explicit fma() is rounded alike everywhere, and what is below FLT_MIN counts as 0, as some devices treat it
 * anyway: from equal parameters and updates come equal bits, whatever the devices of the workers. */

#define ZERO_IF_TINY(x) (fabs(x) < FLT_MIN ? 0.0f : (x))

__kernel void momentum_step(uint count, __global const float *updates, float momentum, float rate,
                            __global float *velocities, __global float *parameters)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        float update    = ZERO_IF_TINY(updates[id]);
        float velocity  = fma(momentum, velocities[id], update);
        float parameter;

        velocity       = ZERO_IF_TINY(velocity);
        parameter      = fma(-rate, velocity, parameters[id]);
        velocities[id] = velocity;
        parameters[id] = ZERO_IF_TINY(parameter);
    }
}
