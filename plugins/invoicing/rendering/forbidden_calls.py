"""What a template's process may not ask of the kernel, as a program for seccomp. Compiled in the parent, once.

A list of what is forbidden, not of what is allowed: Python, Pango and fontconfig ask for other things with each
release, and a renderer that stops working is switched to something worse. What is forbidden answers EPERM, which
every library takes for an ordinary refusal; `clone3` answers ENOSYS, after which glibc takes `clone`.
"""

import errno
import functools
import tempfile

# Each group with what it would be good for.
FORBIDDEN = {
    # the network, and the sockets of PostgreSQL, D-Bus or Docker, to which no network namespace shuts the way
    "sockets": (
        *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
        *("sendto", "sendmsg", "sendmmsg", "recvmmsg"),
    ),
    # another program, setuid ones among them; another process
    "programs": ("execve", "execveat", "fork", "vfork"),
    # other processes: their memory, their descriptors, their end
    "processes": (
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
        *("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
        *("pidfd_open", "pidfd_getfd", "pidfd_send_signal"),
        *("setpriority", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr"),
        "sched_setaffinity",
        *("migrate_pages", "move_pages"),
    ),
    # what others have in common memory and queues
    "ipc": (
        *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
        *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"),
    ),
    # a way past this list: io_uring does for a process what it is told, and asks no filter
    "ways around": ("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # the kernel's own back rooms, where most of its holes were
    "kernel": (
        *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "personality"),
        *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot"),
        *("syslog", "acct", "swapon", "swapoff", "quotactl", "quotactl_fd", "iopl", "ioperm", "modify_ldt"),
        *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
        *("vhangup", "lookup_dcookie", "fanotify_init", "memfd_secret"),
    ),
    # another view of the file system, and files by number past every folder
    "mounts": (
        *("mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns"),
        *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
        *("name_to_handle_at", "open_by_handle_at"),
    ),
    # what Landlock does not hold: whose a file is and who may read it; devices and pipes
    "ownership": (
        *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
        *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
        *("mknod", "mknodat", "utime", "utimes", "utimensat", "futimesat"),
    ),
    # who it is; after this nobody changes it
    "identity": (
        *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"),
        *("setgroups", "capset"),
    ),
}

_CLONE_THREAD = 0x00010000
# Pushes characters into a terminal's input, as if somebody had typed them; the other has it done by selection.
_TERMINAL_INPUT = (0x5412, 0x541C)


@functools.cache
def compiled() -> bytes | None:
    """The program for this machine; None where libseccomp is missing."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError):
        return None
    program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refused = pyseccomp.ERRNO(errno.EPERM)
    for name in (name for names in FORBIDDEN.values() for name in names):
        # An older libseccomp does not know the newest calls, and no architecture has all of the old ones.
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != _UNKNOWN:
            program.add_rule(refused, name)
    program.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    # A thread is no process.
    program.add_rule(refused, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0))
    # The limits of others; one's own may go down only.
    program.add_rule(refused, "prlimit64", pyseccomp.Arg(0, pyseccomp.NE, 0))
    for request in _TERMINAL_INPUT:
        # The kernel looks at 32 bits of it.
        program.add_rule(refused, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


_UNKNOWN = -1
