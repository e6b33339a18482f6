"""How fast messages of the sizes that libpsgd sends pass from one host to another, over a TCP connection."""

import os
import socket
import statistics
import struct
import time

import network
import system

SIZES = (64 * 2 ** 10, 300 * 2 ** 10, 960 * 2 ** 10)  # bytes
PORT = 5000
STAMP = struct.Struct("=q")  # nanoseconds of the monotonic clock, which all hosts share
MAX_ROUNDS, MIN_ROUNDS, SECONDS = 11, 3, 8
TIMEOUT = 60  # seconds without a byte
PATIENCE = 1.5  # between messages, in units of the time a message takes, so that the bucket is full again
ALLOWED = 1.2  # times the link's rate


def connect(sender, receiver):
    """Both ends of a connection between two hosts. A socket stays in the namespace that it was made in."""
    with open("/proc/self/ns/net", "rb") as home:
        try:
            with network.open_namespace(receiver) as namespace:
                system.enter_network(namespace)
                listener = socket.create_server((network.address(receiver), PORT))
            with network.open_namespace(sender) as namespace:
                system.enter_network(namespace)
                source = socket.create_connection((network.address(receiver), PORT), timeout=TIMEOUT)
        finally:
            system.enter_network(home)
    with listener:
        listener.settimeout(TIMEOUT)
        sink, _ = listener.accept()
    for end in (source, sink):
        end.settimeout(TIMEOUT)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return source, sink


def hurry():
    """Lets no other work on the machine delay the two ends: the link is to be timed, not the scheduler."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass


def receive_exactly(end, size):
    while size > 0:
        piece = end.recv(min(size, 2 ** 20))
        if not piece:
            raise ConnectionError("the other end has closed")
        size -= len(piece)


def answer(sink, sizes):
    """Receives messages of these sizes, and answers each with the time at which its last byte came."""
    for size in sizes:
        receive_exactly(sink, size)
        sink.sendall(STAMP.pack(time.monotonic_ns()))


def send(source, sizes, rate):
    """Bits a second of each message, from before the call that sends it to the receiver's last byte."""
    reached = []
    for size in sizes:
        time.sleep(max(0.005, PATIENCE * size * 8 / rate))
        message = bytes(size)
        start = time.monotonic_ns()
        source.sendall(message)
        end, = STAMP.unpack(source.recv(STAMP.size, socket.MSG_WAITALL))
        reached.append(size * 8e9 / (end - start))
    return reached


def in_child(work):
    """Runs work() in a child that the kernel lets pass before other processes; its pid."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            hurry()
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def rounds(rate):
    a_round = sum((1 + PATIENCE) * size * 8 / rate for size in SIZES)
    return int(min(MAX_ROUNDS, max(MIN_ROUNDS, SECONDS / a_round)))


def measure(sender, receiver, rate):
    """The number of rounds, and by size the median in bits a second that messages from one host to another reached."""
    count = rounds(rate)
    sizes = SIZES * count
    source, sink = connect(sender, receiver)
    reading, writing = os.pipe()
    with source, sink:
        children = [in_child(lambda: answer(sink, sizes)),
                    in_child(lambda: os.write(writing, struct.pack("=%dd" % len(sizes), *send(source, sizes, rate))))]
    os.close(writing)
    with os.fdopen(reading, "rb") as results:
        data = results.read()
    if any([os.waitpid(child, 0)[1] for child in children]):
        raise system.Failed(system.EXIT_FAILED, "the messages that time the link did not arrive")
    reached = struct.unpack("=%dd" % len(sizes), data)
    return count, {size: statistics.median(reached[i::len(SIZES)]) for i, size in enumerate(SIZES)}
