"""What the kernel and other programs do for us: namespaces, mounts, commands; and the sentence where they do not."""

import ctypes
import os
import signal
import subprocess

EXIT_USAGE, EXIT_UNUSABLE, EXIT_REFUSED, EXIT_FAILED = 120, 121, 122, 123

# linux/sched.h, linux/prctl.h
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Ends the run with a sentence and an exit status of two-hosts."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP came. Like KeyboardInterrupt it is no Exception, so that nothing swallows it."""

    def __init__(self, signum):
        super().__init__(signum)
        self.signum = signum


def unusable(sentence):
    return Failed(EXIT_UNUSABLE, sentence)


def call(function, *arguments):
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def leave_namespaces():
    """Takes this process into fresh network and mount namespaces, and its next child into a process namespace."""
    kinds = (("network", CLONE_NEWNET), ("mount", CLONE_NEWNS), ("process", CLONE_NEWPID))
    for name, flag in kinds:
        try:
            call("unshare", flag)
        except OSError as error:
            raise unusable("the kernel gives no %s namespace (unshare: %s); in a container that takes --privileged, or "
                           "CAP_SYS_ADMIN and no seccomp filter on it" % (name, error.strerror)) from None


def die_with_parent():
    """The kernel kills this process when its parent ends, however that ends."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter_network(namespace):
    """Moves this process into the network namespace of an open file; sockets stay where they were made."""
    call("setns", namespace.fileno(), CLONE_NEWNET)


def do(needs, *command):
    """Runs a command that must work; its output. `needs` names what the kernel lacks if it does not."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        words = (done.stderr.strip() or "exit status %d" % done.returncode).replace("\n", "; ")
        raise unusable("this machine does not let us have %s: '%s' failed: %s" % (needs, " ".join(command), words))
    return done.stdout
