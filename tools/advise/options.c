#include "options.h"

#include <stddef.h>
#include <string.h>

#include "option_table.h"
#include "random.h"
#include "rank_list.h"

static const char *const engine_words[] = {"auto", "fused", "clblast", NULL};
static const char *const plain_words[]  = {"host", "direct", NULL}; /* in the order of plain_way_t */

#define FIELD(field_) offsetof(options_t, field_)

static const option_row_t rows[] = {
    {"--model", "NAME|FILE", OPTION_TEXT, FIELD(model), 0, 0, NULL,
     "resnet18 (default), resnet50, lstm, gpt2, or a file with a line for each tensor: name dim dim ...", 0},
    {"--ranks", "R,R,...", OPTION_TEXT, FIELD(rank_list), 0, 0, NULL, "low ranks to ask about, default 1,2,4,8", 0},
    {"--workers", "N", OPTION_U32, FIELD(workers), 2, OPTIONS_MOST_WORKERS, NULL,
     "workers that the advice is for; default: those of mpiexec, or 8", 0},
    {"--finite", NULL, OPTION_FLAG, FIELD(is_finite), 0, 0, NULL, "the form of the step for finite gradients", 0},
    {"--min-compression-rate", "X", OPTION_REAL, FIELD(min_compression_rate), 0, 1e6, NULL,
     "compress a matrix only if that sends so many times fewer elements, default 2", 0},
    {"--backward-ms", "X", OPTION_REAL, FIELD(backward_ms), 0, 1e6, NULL,
     "your backward pass: what of the exchange hides behind it; default 0: nothing", 0},
    {"--bucket-kb", "N", OPTION_U64, FIELD(bucket_kb), 0, 1e12, NULL,
     "kilobytes of gradients that are sent together beside it, default 25000; 0: all", 0},
    {"--device", "NAME", OPTION_TEXT, FIELD(device), 0, 0, NULL,
     "what to measure on: index, P:D, gpu, cpu, or part of a name", 0},
    {"--engine", "auto|fused|clblast", OPTION_CHOICE, FIELD(engine), 0, 0, engine_words,
     "who does the matrix products there", 0},
    {"--steps", "N", OPTION_U32, FIELD(steps), 1, 1e4, NULL, "steps that are timed at each rank, default 10", 0},
    {"--measure-elems", "N", OPTION_U64, FIELD(measure_elems), 1e3, 1e12, NULL,
     "measure at most so many elements of the model, and scale; default: what the device's memory allows", 0},
    {"--device-gbs", "X", OPTION_REAL, FIELD(device_gbs), 1e-3, 1e6, NULL,
     "describe a device in place of measuring one: GB/s that passes over gradients reach", 0},
    {"--device-gflops", "X", OPTION_REAL, FIELD(device_gflops), 1e-3, 1e9, NULL,
     "its products, Gflop/s; default 4 times --device-gbs", 0},
    {"--launch-us", "X", OPTION_REAL, FIELD(launch_us), 1e-3, 1e6, NULL, "of one kernel, default 5", 0},
    {"--staging-gbs", "X", OPTION_REAL, FIELD(staging_gbs), 1e-3, 1e6, NULL,
     "between device and host memory, GB/s; beside --device-gbs default 12", 0},
    {"--staging-latency-us", "X", OPTION_REAL, FIELD(staging_latency_us), 1e-3, 1e6, NULL,
     "of one transfer there; default 10", 0},
    {"--link-gbps", "X", OPTION_REAL, FIELD(link_gbps), 1e-3, 1e5, NULL,
     "describe a link in place of measuring one: Gbit/s of each worker", 0},
    {"--in-memory", NULL, OPTION_FLAG, FIELD(in_memory), 0, 0, NULL,
     "there is no link: workers exchange through memory", 0},
    {"--link-latency-us", "X", OPTION_REAL, FIELD(link_latency_us), 1e-3, 1e7, NULL,
     "of one message; default: as measured, else 20", 0},
    {"--host-gbs", "X", OPTION_REAL, FIELD(host_gbs), 1e-3, 1e6, NULL,
     "at which a host copies and adds up messages, GB/s; default: as measured, else 10", 0},
    {"--plain", "host|direct", OPTION_CHOICE, FIELD(plain), 0, 0, plain_words,
     "how whole gradients would travel: through the hosts (default), or from device to device", 0},
    {"--calibration", "FILE", OPTION_TEXT, FIELD(calibration), 0, 0, NULL,
     "take what was measured from FILE, and measure nothing", 0},
    {"--save-calibration", "FILE", OPTION_TEXT, FIELD(save_calibration), 0, 0, NULL, "write what was measured to FILE",
     0},
    {"--json", "[FILE]", OPTION_OPTIONAL_TEXT, FIELD(json_file), 0, 0, NULL,
     "results as JSON: to FILE, or to standard output in place of the table", FIELD(json)},
    {"--help", NULL, OPTION_FLAG, FIELD(help), 0, 0, NULL, "print this and exit", 0},
    {"--version", NULL, OPTION_FLAG, FIELD(version), 0, 0, NULL, "print the version and exit", 0},
};

enum { NUM_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* What contradicts itself. */
static tool_status_t check(const options_t *o)
{
    const bool describes_device = o->device_gbs > 0.0;

    if (o->in_memory && o->link_gbps > 0.0) {
        return tool_fail(TOOL_USAGE, "--in-memory and --link-gbps exclude each other: is there a link or not?");
    }
    if (!describes_device && (o->device_gflops > 0.0 || o->launch_us > 0.0)) {
        return tool_fail(TOOL_USAGE, "%s describes a device, which needs --device-gbs too",
                         o->device_gflops > 0.0 ? "--device-gflops" : "--launch-us");
    }
    if (o->calibration != NULL && o->save_calibration != NULL) {
        return tool_fail(TOOL_USAGE, "--calibration and --save-calibration exclude each other");
    }
    if (describes_device && (o->save_calibration != NULL || o->device != NULL)) {
        return tool_fail(TOOL_USAGE, "--device-gbs describes a device, %s one that is measured: give one of them",
                         o->device != NULL ? "--device" : "--save-calibration");
    }
    return TOOL_OK;
}

tool_status_t options_parse(int argc, char **argv, options_t *options_p)
{
    options_t options = {
        .model = "resnet18", .rank_list = "1,2,4,8", .steps = 10, .bucket_kb = 25000, .min_compression_rate = 2.0};
    tool_status_t status = option_table_parse(rows, NUM_ROWS, argc, argv, &options);

    if (status == TOOL_OK) {
        status = rank_list_parse("--ranks", options.rank_list, options.ranks, OPTIONS_MAX_RANKS, &options.num_ranks);
    }
    if (status == TOOL_OK) {
        status = check(&options);
    }
    if (status == TOOL_OK) {
        *options_p = options;
    }
    return status;
}

void options_print_help(FILE *file)
{
    fprintf(file, "usage: psgd-advise [options]\n"
                  "       mpiexec -n WORKERS psgd-advise [options]\n\n"
                  "Will compressing gradients make training faster here? Measures this machine's device and the link "
                  "between workers (or\n"
                  "takes what you say of them), predicts a step with and without PowerSGD, and says no where the "
                  "answer is no.\n\n");
    option_table_print(rows, NUM_ROWS, file);
    fprintf(file, "\nExit code: 0 done, whatever the advice; 1 the device, the workers or a file failed; 2 wrong "
                  "usage, a file of\n"
                  "shapes included.\n");
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text != NULL && *text != '\0'; ++text) {
        hash = random_mix(hash ^ (unsigned char)*text);
    }
    return random_mix(hash);
}

uint64_t options_hash(const options_t *o)
{
    const double rates[] = {o->min_compression_rate, o->device_gbs, o->staging_gbs,
                            o->staging_latency_us,   o->link_gbps,  o->host_gbs,
                            o->link_latency_us};
    uint64_t     hash    = hash_text(hash_text(hash_text(1, o->model), o->rank_list), o->calibration);
    uint64_t     bits;

    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); ++i) {
        memcpy(&bits, &rates[i], sizeof(bits));
        hash = random_mix(hash ^ bits);
    }
    hash = random_mix(hash ^ o->steps);
    hash = random_mix(hash ^ o->measure_elems);
    return random_mix(hash ^ ((uint64_t)o->engine << 3 | (uint64_t)o->plain << 2 | (uint64_t)o->is_finite << 1 |
                              (uint64_t)o->in_memory));
}

const char *options_plain_word(const options_t *options)
{
    return plain_words[options->plain];
}

psgd_engine_t options_engine(const options_t *options)
{
    static const psgd_engine_t engines[] = {PSGD_ENGINE_AUTO, PSGD_ENGINE_FUSED, PSGD_ENGINE_CLBLAST};

    return engines[options->engine];
}

bool options_need_device(const options_t *options)
{
    return options->calibration == NULL && options->device_gbs == 0.0;
}

bool options_need_link(const options_t *options)
{
    return options->calibration == NULL && options->link_gbps == 0.0 && !options->in_memory;
}
