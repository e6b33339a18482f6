#include "options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

static const char *const model_names[] = {"mlp", "cnn", NULL};
static const char *const decay_names[] = {"linear", "cosine", "none", NULL};

/* Where --epochs, --lr and such are not given. Chosen so that two workers on two cores reach 87 % (mlp) and 89 %
 * (cnn). */
typedef struct model_defaults {
    uint32_t epochs;
    double   lr;
} model_defaults_t;

static const model_defaults_t model_defaults[NUM_MODELS] = {
    [MODEL_MLP] = {3, 0.05},
    [MODEL_CNN] = {4, 0.01},
};

typedef enum option_kind { KIND_FLAG, KIND_U32, KIND_U64, KIND_REAL, KIND_TEXT, KIND_CHOICE, KIND_JSON } option_kind_t;

/* One option: how it is written, where it goes, what it may be, and what --help says. */
typedef struct option_row {
    const char        *name;
    const char        *value; /* in --help; NULL for a flag */
    option_kind_t      kind;
    size_t             offset; /* in options_t */
    double             min, max;
    const char *const *choices;
    const char        *help;
} option_row_t;

#define FIELD(field_) offsetof(options_t, field_)

static const option_row_t rows[] = {
    {"--model", "mlp|cnn", KIND_CHOICE, FIELD(model), 0, 0, model_names,
     "mlp (default): 784-256-128-10; cnn: 8 and 16 5x5 filters, 64 hidden"},
    {"--data", "DIR", KIND_TEXT, FIELD(data), 0, 0, NULL,
     "directory of the IDX files, gzip or not; default /usr/share/datasets/fashion-mnist"},
    {"--rank", "R", KIND_U32, FIELD(rank), 0, PSGD_MAX_RANK, NULL,
     "low rank of PowerSGD, default 4; 0: plain all-reduce, nothing is compressed"},
    {"--compare", NULL, KIND_FLAG, FIELD(compare), 0, 0, NULL,
     "train twice from the same parameters, plain and with PowerSGD, and compare"},
    {"--epochs", "N", KIND_U32, FIELD(epochs), 1, 10000, NULL,
     "passes over the training data; default 3 (mlp), 4 (cnn)"},
    {"--steps", "N", KIND_U64, FIELD(steps), 0, 1e9, NULL,
     "stop after N steps, however many epochs that is; 0 (default): whole epochs"},
    {"--batch", "N", KIND_U32, FIELD(batch), 1, 8192, NULL, "images per worker and step; default 32"},
    {"--lr", "X", KIND_REAL, FIELD(lr), 0, 1000, NULL,
     "learning rate of the first step; default 0.05 (mlp), 0.01 (cnn)"},
    {"--decay", "linear|cosine|none", KIND_CHOICE, FIELD(decay), 0, 0, decay_names,
     "how the learning rate falls to 0 at the last step; default linear"},
    {"--momentum", "X", KIND_REAL, FIELD(momentum), 0, 0.9999, NULL, "of SGD; default 0.9"},
    {"--seed", "N", KIND_U64, FIELD(seed), 0, 18446744073709551615.0, NULL,
     "of initial parameters, order of images and compression; default 1"},
    {"--start-step", "N", KIND_U64, FIELD(start_step), 0, 1e18, NULL,
     "plain steps before compression starts; default 0"},
    {"--min-compression-rate", "X", KIND_REAL, FIELD(min_compression_rate), 0, 1e9, NULL,
     "compress a matrix only if that sends so many times fewer elements; default 2"},
    {"--device", "NAME", KIND_TEXT, FIELD(device), 0, 0, NULL,
     "index, P:D, gpu, cpu, or part of a name; default: PSGD_DEVICE, else the first GPU"},
    {"--json", "[FILE]", KIND_JSON, FIELD(json_file), 0, 0, NULL,
     "write the results as JSON to FILE, or to standard output in place of the table"},
    {"--help", NULL, KIND_FLAG, FIELD(help), 0, 0, NULL, "print this and exit"},
    {"--version", NULL, KIND_FLAG, FIELD(version), 0, 0, NULL, "print the version and exit"},
};

enum { NUM_ROWS = sizeof(rows) / sizeof(rows[0]) };

const char *model_name(int model)
{
    return model_names[model];
}

const char *decay_name(int decay)
{
    return decay_names[decay];
}

/* The row of `argument`, "--name" or "--name=value"; *value_p is what stands behind '=', or NULL. */
static const option_row_t *find_row(const char *argument, const char **value_p)
{
    size_t name_length = strcspn(argument, "=");

    for (size_t i = 0; i < NUM_ROWS; ++i) {
        if (strlen(rows[i].name) == name_length && strncmp(rows[i].name, argument, name_length) == 0) {
            *value_p = argument[name_length] == '=' ? argument + name_length + 1 : NULL;
            return &rows[i];
        }
    }
    return NULL;
}

static train_status_t parse_integer(const option_row_t *row, const char *text, uint64_t *number_p)
{
    char              *end;
    unsigned long long number;

    errno  = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0') { /* strtoull() itself takes spaces and signs */
        return train_fail(TRAIN_USAGE, "%s takes a whole number, not '%s'", row->name, text);
    }
    if (errno != 0 || (double)number < row->min || (double)number > row->max) {
        return train_fail(TRAIN_USAGE, "%s takes a whole number from %.0f to %.0f, not %s", row->name, row->min,
                          row->max, text);
    }
    *number_p = number;
    return TRAIN_OK;
}

static train_status_t parse_real(const option_row_t *row, const char *text, double *number_p)
{
    char  *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0') {
        return train_fail(TRAIN_USAGE, "%s takes a number, not '%s'", row->name, text);
    }
    if (!(number >= row->min && number <= row->max)) { /* NaN too */
        return train_fail(TRAIN_USAGE, "%s takes a number from %g to %g, not %s", row->name, row->min, row->max, text);
    }
    *number_p = number;
    return TRAIN_OK;
}

static train_status_t parse_choice(const option_row_t *row, const char *text, int *choice_p)
{
    for (int i = 0; row->choices[i] != NULL; ++i) {
        if (strcmp(row->choices[i], text) == 0) {
            *choice_p = i;
            return TRAIN_OK;
        }
    }
    return train_fail(TRAIN_USAGE, "%s takes %s, not '%s'", row->name, row->value, text);
}

/* Writes the value of one option that takes one. */
static train_status_t parse_value(const option_row_t *row, const char *text, options_t *options)
{
    char          *field = (char *)options + row->offset;
    uint64_t       whole = 0;
    uint32_t       narrow;
    double         real   = 0.0;
    int            choice = 0;
    train_status_t status;

    switch (row->kind) {
    case KIND_U32:
        status = parse_integer(row, text, &whole);
        narrow = (uint32_t)whole;
        memcpy(field, &narrow, sizeof(narrow));
        return status;
    case KIND_U64:
        status = parse_integer(row, text, &whole);
        memcpy(field, &whole, sizeof(whole));
        return status;
    case KIND_REAL:
        status = parse_real(row, text, &real);
        memcpy(field, &real, sizeof(real));
        return status;
    case KIND_CHOICE:
        status = parse_choice(row, text, &choice);
        memcpy(field, &choice, sizeof(choice));
        return status;
    case KIND_TEXT:
    case KIND_JSON:
        if (text[0] == '\0') {
            return train_fail(TRAIN_USAGE, "%s takes a text that is not empty", row->name);
        }
        memcpy(field, &text, sizeof(text));
        return TRAIN_OK;
    case KIND_FLAG: break;
    }
    return train_fail(TRAIN_USAGE, "%s takes no value", row->name);
}

/* Reads the option at argv[*next] and moves *next behind it and its value. */
static train_status_t parse_option(int argc, char **argv, int *next, options_t *options)
{
    const char         *argument = argv[(*next)++];
    const char         *value    = NULL;
    const option_row_t *row      = find_row(argument, &value);
    bool                more     = *next < argc;

    if (row == NULL) {
        return train_fail(TRAIN_USAGE, "unknown option '%s'; --help lists the options", argument);
    }
    if (row->kind == KIND_FLAG) {
        if (value != NULL) {
            return train_fail(TRAIN_USAGE, "%s takes no value", row->name);
        }
        *(bool *)((char *)options + row->offset) = true;
        return TRAIN_OK;
    }
    if (row->kind == KIND_JSON) {
        options->json = true;
        if (value == NULL && !(more && argv[*next][0] != '-')) {
            return TRAIN_OK; /* no FILE follows */
        }
    }
    if (value == NULL) {
        if (!more) {
            return train_fail(TRAIN_USAGE, "%s takes a value: %s", row->name, row->value);
        }
        value = argv[(*next)++];
    }
    return parse_value(row, value, options);
}

train_status_t options_parse(int argc, char **argv, options_t *options_p)
{
    options_t options = {
        .data                 = "/usr/share/datasets/fashion-mnist",
        .rank                 = 4,
        .batch                = 32,
        .lr                   = -1.0, /* not given */
        .momentum             = 0.9,
        .seed                 = 1,
        .min_compression_rate = 2.0,
    };

    for (int next = 1; next < argc;) {
        train_status_t status = parse_option(argc, argv, &next, &options);
        if (status != TRAIN_OK) {
            return status;
        }
    }
    if (options.compare && options.rank == 0) {
        return train_fail(TRAIN_USAGE,
                          "--compare needs a --rank of at least 1: rank 0 is the plain run that it compares with");
    }
    if (options.epochs == 0) {
        options.epochs = model_defaults[options.model].epochs;
    }
    if (options.lr < 0.0) {
        options.lr = model_defaults[options.model].lr;
    }
    *options_p = options;
    return TRAIN_OK;
}

void options_print_help(FILE *file)
{
    fprintf(file,
            "psgd-train: data-parallel training on Fashion-MNIST, with gradients averaged as they are or by PowerSGD\n"
            "\n"
            "  psgd-train [options]                      one worker\n"
            "  mpiexec -n 2 psgd-train --compare         two workers: plain all-reduce against PowerSGD\n"
            "\n");
    for (size_t i = 0; i < NUM_ROWS; ++i) {
        char left[64];
        snprintf(left, sizeof(left), "%s %s", rows[i].name, rows[i].value != NULL ? rows[i].value : "");
        fprintf(file, "  %-30s %s\n", left, rows[i].help);
    }
    fprintf(file, "\nExit code: 0 done; 1 the data, the device or the training failed; 2 wrong usage.\n");
}

static uint64_t hash_real(uint64_t hash, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return random_mix(hash ^ bits);
}

uint64_t options_hash(const options_t *options)
{
    uint64_t hash = 0;

    hash = random_mix(hash ^ (uint64_t)options->model);
    hash = random_mix(hash ^ options->rank);
    hash = random_mix(hash ^ (uint64_t)options->compare);
    hash = random_mix(hash ^ options->epochs);
    hash = random_mix(hash ^ options->steps);
    hash = random_mix(hash ^ options->batch);
    hash = hash_real(hash, options->lr);
    hash = random_mix(hash ^ (uint64_t)options->decay);
    hash = hash_real(hash, options->momentum);
    hash = random_mix(hash ^ options->seed);
    hash = random_mix(hash ^ options->start_step);
    return hash_real(hash, options->min_compression_rate);
}
