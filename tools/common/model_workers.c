#include "model_workers.h"

tool_status_t model_load_alike(const workers_t *workers, uint64_t options_hash, const char *which, model_t *model_p)
{
    tool_status_t status = workers_agree(
        workers, workers_compare(workers, options_hash, "the options", "start all of them with the same ones"));

    if (status == TOOL_OK) {
        status = workers_agree(workers, model_load(which, model_p));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, workers_compare(workers, model_hash(model_p), "the models",
                                                        "give all of them the same --model"));
    }
    return status;
}
