/* The built-in models: names and dims as in PyTorch, those of convolutions as output channels, input channels, height,
 * width. */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 64 };

/* What is being put together: after the first failure nothing is added any more, and the end tells. */
typedef struct builder {
    model_t      *model;
    tool_status_t status;
    char          prefix[NAME_BYTES]; /* before every name */
} builder_t;

static void set_prefix(builder_t *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set_prefix(builder_t *b, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(b->prefix, sizeof(b->prefix), format, arguments);
    va_end(arguments);
}

static void add(builder_t *b, const char *name, uint32_t num_dims, const uint64_t *dims)
{
    char full[2 * NAME_BYTES];

    snprintf(full, sizeof(full), "%s%s", b->prefix, name);
    if (b->status == TOOL_OK) {
        b->status = model_add(b->model, full, num_dims, dims);
    }
}

#define ADD(b_, name_, ...) \
    add(b_, name_, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (const uint64_t[]){__VA_ARGS__})

/* <name>.weight of so many dims, and <name>.bias, a vector */
static void add_with_bias(builder_t *b, const char *name, uint64_t bias, uint32_t num_dims, const uint64_t *dims)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%s.weight", name);
    add(b, full, num_dims, dims);
    snprintf(full, sizeof(full), "%s.bias", name);
    ADD(b, full, bias);
}

static void add_norm(builder_t *b, const char *name, uint64_t channels)
{
    add_with_bias(b, name, channels, 1, &channels);
}

static void add_conv(builder_t *b, const char *name, uint64_t outputs, uint64_t inputs, uint64_t side)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%s.weight", name);
    ADD(b, full, outputs, inputs, side, side);
}

/* ---- residual networks ---- */

/* Two convolutions of 3 x 3. */
static void add_basic_block(builder_t *b, uint64_t inputs, uint64_t width)
{
    add_conv(b, "conv1", width, inputs, 3);
    add_norm(b, "bn1", width);
    add_conv(b, "conv2", width, width, 3);
    add_norm(b, "bn2", width);
}

/* 1 x 1, 3 x 3, and 1 x 1 to four times the width. */
static void add_bottleneck(builder_t *b, uint64_t inputs, uint64_t width)
{
    add_conv(b, "conv1", width, inputs, 1);
    add_norm(b, "bn1", width);
    add_conv(b, "conv2", width, width, 3);
    add_norm(b, "bn2", width);
    add_conv(b, "conv3", 4 * width, width, 1);
    add_norm(b, "bn3", 4 * width);
}

typedef struct resnet {
    uint64_t stem_side; /* of the first convolution */
    unsigned blocks[4]; /* of each layer, with 64, 128, 256 and 512 channels */
    uint64_t expansion; /* outputs of a block over its width: 1 for basic blocks, 4 for bottlenecks */
    uint64_t classes;
} resnet_t;

static void add_resnet(builder_t *b, const resnet_t *net)
{
    uint64_t inputs = 64;

    add_conv(b, "conv1", 64, 3, net->stem_side);
    add_norm(b, "bn1", 64);
    for (unsigned layer = 0; layer < 4; ++layer) {
        uint64_t width   = UINT64_C(64) << layer;
        uint64_t outputs = net->expansion * width;

        for (unsigned block = 0; block < net->blocks[layer]; ++block) {
            set_prefix(b, "layer%u.%u.", layer + 1, block);
            if (net->expansion == 1) {
                add_basic_block(b, inputs, width);
            } else {
                add_bottleneck(b, inputs, width);
            }
            if (inputs != outputs) {
                add_conv(b, "downsample.0", outputs, inputs, 1);
                add_norm(b, "downsample.1", outputs);
            }
            inputs = outputs;
        }
    }
    set_prefix(b, "%s", "");
    add_with_bias(b, "fc", net->classes, 2, (const uint64_t[]){net->classes, inputs});
}

/* The version for images of 32 x 32: 11 173 962 parameters. */
static void add_resnet18(builder_t *b)
{
    add_resnet(b, &(const resnet_t){3, {2, 2, 2, 2}, 1, 10});
}

/* The version for ImageNet: 25 557 032 parameters. */
static void add_resnet50(builder_t *b)
{
    add_resnet(b, &(const resnet_t){7, {3, 4, 6, 3}, 4, 1000});
}

/* ---- language models ---- */

/* The language model of the PowerSGD paper (WikiText-2), its decoder tied to the encoder: 28 949 319 parameters. */
static void add_lstm(builder_t *b)
{
    enum { TOKENS = 28869, WIDTH = 650, LAYERS = 3 };
    static const char *const matrices[] = {"weight_ih", "weight_hh"};
    static const char *const vectors[]  = {"bias_ih", "bias_hh"};
    char                     name[NAME_BYTES];

    ADD(b, "encoder.weight", TOKENS, WIDTH);
    for (int layer = 0; layer < LAYERS; ++layer) {
        for (int i = 0; i < 2; ++i) {
            snprintf(name, sizeof(name), "rnn.%s_l%d", matrices[i], layer);
            ADD(b, name, UINT64_C(4) * WIDTH, WIDTH);
        }
        for (int i = 0; i < 2; ++i) {
            snprintf(name, sizeof(name), "rnn.%s_l%d", vectors[i], layer);
            ADD(b, name, UINT64_C(4) * WIDTH);
        }
    }
    ADD(b, "decoder.bias", TOKENS);
}

/* GPT-2 small, its head tied to the token embedding: 124 439 808 parameters. Its linear layers are stored as inputs x
 * outputs. */
static void add_gpt2(builder_t *b)
{
    enum { TOKENS = 50257, POSITIONS = 1024, WIDTH = 768, LAYERS = 12 };

    ADD(b, "wte.weight", TOKENS, WIDTH);
    ADD(b, "wpe.weight", POSITIONS, WIDTH);
    for (unsigned layer = 0; layer < LAYERS; ++layer) {
        set_prefix(b, "h.%u.", layer);
        add_norm(b, "ln_1", WIDTH);
        add_with_bias(b, "attn.c_attn", UINT64_C(3) * WIDTH, 2, (const uint64_t[]){WIDTH, UINT64_C(3) * WIDTH});
        add_with_bias(b, "attn.c_proj", WIDTH, 2, (const uint64_t[]){WIDTH, WIDTH});
        add_norm(b, "ln_2", WIDTH);
        add_with_bias(b, "mlp.c_fc", UINT64_C(4) * WIDTH, 2, (const uint64_t[]){WIDTH, UINT64_C(4) * WIDTH});
        add_with_bias(b, "mlp.c_proj", WIDTH, 2, (const uint64_t[]){UINT64_C(4) * WIDTH, WIDTH});
    }
    set_prefix(b, "%s", "");
    add_norm(b, "ln_f", WIDTH);
}

static const struct {
    const char *name;
    void (*add)(builder_t *b);
} builtins[] = {
    {"resnet18", add_resnet18},
    {"resnet50", add_resnet50},
    {"lstm", add_lstm},
    {"gpt2", add_gpt2},
};

tool_status_t model_add_builtin(model_t *model, const char *name, int *known_p)
{
    builder_t builder = {model, TOOL_OK, ""};

    *known_p = 0;
    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); ++i) {
        if (strcmp(builtins[i].name, name) == 0) {
            *known_p = 1;
            builtins[i].add(&builder);
        }
    }
    return builder.status;
}
