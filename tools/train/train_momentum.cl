/* SGD with momentum, over all parameters at once:
 *
 *   change    = update + weight_decay * parameter
 *   velocity  = momentum * velocity + change
 *   parameter = parameter - rate * (what the rule says: psgd_rule_t)
 *
 * Explicit fma() is rounded alike everywhere, and what is below FLT_MIN counts as 0, as some devices treat it
 * anyway: from equal parameters and updates come equal bits, whatever the devices of the workers. */

#define ZERO_IF_TINY(x) (fabs(x) < FLT_MIN ? 0.0f : (x))

/* In the order of psgd_rule_t. */
#define IS_POWERSGD(rule) ((rule) == 0)
#define IS_HEAVY_BALL(rule) ((rule) == 1)

__kernel void momentum_step(uint count, __global const float *updates, uint rule, float momentum, float weight_decay,
                            float rate, __global float *velocities, __global float *parameters)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        const float change   = ZERO_IF_TINY(fma(weight_decay, parameters[id], ZERO_IF_TINY(updates[id])));
        const float velocity = ZERO_IF_TINY(fma(momentum, velocities[id], change));
        const float step     = IS_HEAVY_BALL(rule) ? velocity
                               : IS_POWERSGD(rule) ? ZERO_IF_TINY(change + velocity)
                                                   : ZERO_IF_TINY(fma(momentum, velocity, change));

        velocities[id] = velocity;
        parameters[id] = ZERO_IF_TINY(fma(-rate, step, parameters[id]));
    }
}
