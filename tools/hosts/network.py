"""The emulated hosts: network namespaces joined by a bridge, each on a link of a given rate.

All of it is in namespaces of this run: no other process sees it, so that its names and addresses cannot meet those of another
run or of the machine, and the kernel removes it when the last process of the run has ended.
"""

import json
import os

import system

SWITCH, SWITCH_ADDRESS = "br0", "10.99.0.254"
NETNS = "/run/netns"  # where ip looks for the names of network namespaces
LATENCY = "20ms"  # how long tbf queues before it drops


def host_name(index):
    return "host%d" % (index + 1)


def address(index):
    return "10.99.0.%d" % (index + 1)


def hide_mounts():
    """What the run mounts is its own: the processes it sees, the names of network namespaces, shared memory, /etc/hosts."""
    system.do("a private mount tree", "mount", "--make-rslave", "/")
    system.do("a /proc of its own", "mount", "-t", "proc", "proc", "/proc")
    os.makedirs(NETNS, exist_ok=True)
    for directory in (NETNS, "/dev/shm"):
        system.do("tmpfs", "mount", "-t", "tmpfs", "tmpfs", directory)


def name_hosts(count):
    """/etc/hosts of the run, so that a host that asks for its own name need ask no server."""
    names = "/dev/shm/hosts"
    with open(names, "w", encoding="ascii") as file:
        file.write("127.0.0.1 localhost\n%s switch\n" % SWITCH_ADDRESS)
        file.writelines("%s %s\n" % (address(i), host_name(i)) for i in range(count))
    if os.path.exists("/etc/hosts"):
        system.do("an /etc/hosts of its own", "mount", "--bind", names, "/etc/hosts")


def shape(rate, burst, device, namespace=None):
    tc = ["tc"] + (["-n", namespace] if namespace else [])
    system.do("the queue tbf (kernel module sch_tbf)", *tc, "qdisc", "add", "dev", device, "root", "tbf",
              "rate", "%dbit" % rate, "burst", "%db" % burst, "latency", LATENCY)


def add_host(index, rate, burst):
    name, port = host_name(index), "port%d" % (index + 1)
    system.do("network namespaces", "ip", "netns", "add", name)
    system.do("veth pairs (kernel module veth)", "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
    system.do("ports of a bridge", "ip", "link", "set", port, "master", SWITCH, "up")
    system.do("an address", "ip", "-n", name, "address", "add", address(index) + "/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        system.do("an interface", "ip", "-n", name, "link", "set", device, "up")
    shape(rate, burst, "eth0", name)  # what the host sends
    shape(rate, burst, port)  # what the switch sends it: a link has one rate for all senders together


def build(count, rate, burst):
    hide_mounts()
    name_hosts(count)
    system.do("an interface", "ip", "link", "set", "lo", "up")
    system.do("a bridge (kernel module bridge)", "ip", "link", "add", SWITCH, "type", "bridge")
    system.do("an address", "ip", "address", "add", SWITCH_ADDRESS + "/24", "dev", SWITCH)
    system.do("an interface", "ip", "link", "set", SWITCH, "up")
    for index in range(count):
        add_host(index, rate, burst)


def open_namespace(index):
    return open(os.path.join(NETNS, host_name(index)), "rb")


def traffic(count):
    """For each host the bytes that its eth0 has sent and received."""
    totals = []
    for index in range(count):
        text = system.do("counters of an interface", "ip", "-n", host_name(index), "-s", "-j", "link", "show", "dev", "eth0")
        stats = json.loads(text)[0]["stats64"]
        totals.append((stats["tx"]["bytes"], stats["rx"]["bytes"]))
    return totals
