"""Rates and sizes as tc writes them, and the burst that goes with a rate."""

import re

BITS = {"": 1, "bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
        "kibit": 2 ** 10, "mibit": 2 ** 20, "gibit": 2 ** 30, "tibit": 2 ** 40,
        "bps": 8, "kbps": 8e3, "mbps": 8e6, "gbps": 8e9, "tbps": 8e12,  # bytes a second, to tc
        "kibps": 2 ** 13, "mibps": 2 ** 23, "gibps": 2 ** 33, "tibps": 2 ** 43}
BYTES = {"": 1, "b": 1, "k": 2 ** 10, "kb": 2 ** 10, "m": 2 ** 20, "mb": 2 ** 20, "g": 2 ** 30, "gb": 2 ** 30}

LEAST_RATE, GREATEST_RATE = 1e6, 1e11  # bit/s
LEAST_BURST, GREATEST_BURST = 2 ** 11, 2 ** 26  # bytes; a frame of 1514 bytes has to fit

# Up to here a burst can be small enough for messages of tens of KiB to be held to the rate. A token bucket sends what is in it
# at once and then waits for a timer: at 1 Gbit/s 12 KiB last 0.1 ms. At ten times that, timers are too coarse for so little.
SHAPED_RATE = 1e9


def scaled(text, units):
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([a-z]*)", text.strip().lower())
    if not match or match.group(2) not in units:
        raise ValueError
    return float(match.group(1)) * units[match.group(2)]


def parse_rate(text):
    """Bits a second; ValueError where tc would not take it or it is out of bounds."""
    rate = scaled(text, BITS)
    if not LEAST_RATE <= rate <= GREATEST_RATE:
        raise ValueError
    return rate


def parse_burst(text):
    """Bytes."""
    burst = int(scaled(text, BYTES))
    if not LEAST_BURST <= burst <= GREATEST_BURST:
        raise ValueError
    return burst


def default_burst(rate):
    """8 KiB up to 667 Mbit/s, 12 KiB at 1 Gbit/s, and above, where small messages are not held anyway, 4 MiB at 10 Gbit/s."""
    if rate <= SHAPED_RATE:
        return int(max(8 * 2 ** 10, 12 * 2 ** 10 * rate / 1e9))
    return int(4 * 2 ** 20 * rate / 1e10)
