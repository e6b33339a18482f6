"""The tensors of well-known models, and the file of shapes that psgd-bench and PyTorch's workers both read: one line a tensor,
`name dim dim ...`; `#` begins a comment."""

import math


def _batch_norm(name, channels):
    return [(name + ".weight", (channels,)), (name + ".bias", (channels,))]


def _conv(name, out, into, side):
    return [(name + ".weight", (out, into, side, side))]


def resnet18():
    """For CIFAR-10, as in the PowerSGD paper."""
    tensors = _conv("conv1", 64, 3, 3) + _batch_norm("bn1", 64)
    into = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name = "layer%d.%d" % (stage, block)
            tensors += _conv(name + ".conv1", width, into, 3) + _batch_norm(name + ".bn1", width)
            tensors += _conv(name + ".conv2", width, width, 3) + _batch_norm(name + ".bn2", width)
            if into != width:
                tensors += _conv(name + ".shortcut.0", width, into, 1) + _batch_norm(name + ".shortcut.1", width)
            into = width
    return tensors + [("linear.weight", (10, 512)), ("linear.bias", (10,))]


def resnet50():
    """For ImageNet."""
    tensors = _conv("conv1", 64, 3, 7) + _batch_norm("bn1", 64)
    into = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            name = "layer%d.%d" % (stage, block)
            tensors += _conv(name + ".conv1", width, into, 1) + _batch_norm(name + ".bn1", width)
            tensors += _conv(name + ".conv2", width, width, 3) + _batch_norm(name + ".bn2", width)
            tensors += _conv(name + ".conv3", 4 * width, width, 1) + _batch_norm(name + ".bn3", 4 * width)
            if block == 0:
                tensors += _conv(name + ".downsample.0", 4 * width, into, 1)
                tensors += _batch_norm(name + ".downsample.1", 4 * width)
            into = 4 * width
    return tensors + [("fc.weight", (1000, 2048)), ("fc.bias", (1000,))]


def lstm():
    """Three layers of 650 on WikiText-2, the decoder tied to the encoder, as in the PowerSGD paper."""
    tensors = [("encoder.weight", (28869, 650))]
    for layer in range(3):
        for side in ("ih", "hh"):
            tensors.append(("rnn.weight_%s_l%d" % (side, layer), (2600, 650)))
        for side in ("ih", "hh"):
            tensors.append(("rnn.bias_%s_l%d" % (side, layer), (2600,)))
    return tensors + [("decoder.bias", (28869,))]


def gpt2():
    """The smallest one, 124 million parameters."""
    width = 768

    def norm(name):
        return [(name + ".weight", (width,)), (name + ".bias", (width,))]

    def linear(name, into, out):
        return [(name + ".weight", (into, out)), (name + ".bias", (out,))]

    tensors = [("wte.weight", (50257, width)), ("wpe.weight", (1024, width))]
    for layer in range(12):
        name = "h.%d" % layer
        tensors += norm(name + ".ln_1") + linear(name + ".attn.c_attn", width, 3 * width)
        tensors += linear(name + ".attn.c_proj", width, width) + norm(name + ".ln_2")
        tensors += linear(name + ".mlp.c_fc", width, 4 * width) + linear(name + ".mlp.c_proj", 4 * width, width)
    return tensors + norm("ln_f")


MODELS = {"resnet18": resnet18, "resnet50": resnet50, "lstm": lstm, "gpt2": gpt2}


def num_parameters(tensors):
    return sum(math.prod(dims) for _, dims in tensors)


def write_shapes(tensors, path):
    with open(path, "w", encoding="utf-8") as file:
        for name, dims in tensors:
            file.write("%s %s\n" % (name, " ".join(map(str, dims))))


def read_shapes(path):
    """Raises ValueError with a sentence where the file is not one of shapes, OSError where it cannot be read."""
    tensors = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) < 2 or not all(word.isdecimal() and int(word) > 0 for word in words[1:]):
                raise ValueError("%s:%d: a tensor is 'name dim dim ...', dims from 1 on" % (path, number))
            tensors.append((words[0], tuple(map(int, words[1:]))))
    if not tensors:
        raise ValueError("%s: there is no tensor in it" % path)
    return tensors
