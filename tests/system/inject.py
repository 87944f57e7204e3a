# SPDX-License-Identifier: Apache-2.0
"""Makes a thread of another process do a system call of our choice, as code that an attacker runs there would (x86_64)."""
import ctypes
import os
import signal

PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_ATTACH, PTRACE_DETACH = 12, 13, 16, 17
WALL = 0x40000000  # __WALL: threads, too

# Of struct user_regs_struct, which has 27 registers.
NUM_REGS = 27
RSI, RDI, ORIG_RAX, RIP, RAX = 13, 14, 15, 16, 10
SYSCALL_LENGTH = 2

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, tid, data=None):
    if libc.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request} of thread {tid}")


def make_syscall(tid, number, first=0, second=0):
    """The thread is stopped inside a system call (it waits for something); it continues with ours instead."""
    ptrace(PTRACE_ATTACH, tid)
    _, status = os.waitpid(tid, WALL)
    assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP
    regs = (ctypes.c_ulonglong * NUM_REGS)()
    ptrace(PTRACE_GETREGS, tid, ctypes.byref(regs))
    assert ctypes.c_longlong(regs[ORIG_RAX]).value >= 0, "the thread is not in a system call"
    regs[RIP] -= SYSCALL_LENGTH  # back onto the instruction that brought it there
    regs[RAX], regs[RDI], regs[RSI] = number, first, second
    regs[ORIG_RAX] = ctypes.c_ulonglong(-1).value  # or the kernel would restart the old call
    ptrace(PTRACE_SETREGS, tid, ctypes.byref(regs))
    ptrace(PTRACE_DETACH, tid)


def threads(pid):
    """Thread ids by name. One that has not run yet is called as the process; the process's own comes last, and stays."""
    names = {}
    for tid in sorted(os.listdir(f"/proc/{pid}/task"), key=lambda tid: int(tid) == pid):
        with open(f"/proc/{pid}/task/{tid}/comm") as f:
            names[f.read().strip()] = int(tid)
    return names
