"""Runs a program that nobody has read, to see whether it ends without an error.

    parent                                   child: python -I, own process group, empty environment
    ──────                                   ──────────────────────────────────────────────────────
    a temporary folder, a pipe ────────────► limits: memory, CPU seconds, file size, processes
    waits, not for ever                      a network namespace of its own, if the kernel allows
    kills the whole group, folder deleted    an audit hook, then the program
    reads the pipe ◄──────────────────────── "passed", only if the program ran to its last line

**What it does not do.** It stops accidents of code that a model wrote, not an attacker. The
program runs as the user who called, and can read every file that this user can read. Writing
outside its folder, starting processes, loading native code and (where there is no network
namespace) sockets are refused by a hook of the Python interpreter; native code in an extension
module of the standard library could get around that. For hostile code use a virtual machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MEMORY, FILE_SIZE, PROCESSES = 1 << 30, 1 << 20, 64
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
REFUSED = ("os.fork", "os.exec", "os.posix_spawn", "os.system", "os.kill", "subprocess", "ctypes")
WRITING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
WRITING += ("os.chmod", "os.chown", "os.utime", "shutil.", "tempfile.")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a program ended.

    Attributes:
        passed: it ran to its last line in time; `exit()` before that is no pass.
        why: the last line of its errors, or what stopped it.
        network: what keeps it from the network: "namespace" or "audit hook".
    """

    passed: bool
    why: str
    network: str


def run(
    program: str, *, seconds: float = 5.0, memory: int = MEMORY, namespace: bool = True
) -> Verdict:
    """Runs a program in a process of its own.

    Args:
        program: source of a Python program.
        seconds: the most CPU time it may take; on the wall, six times as much and five more.
        memory: the most bytes of address space.
        namespace: try to take the network away by a namespace; otherwise by the hook.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-") as name:
        folder = Path(name).resolve()
        source, errors = folder / "program.py", folder / "errors"
        source.write_text(program, encoding="utf-8")
        reading, writing = os.pipe()
        command = [sys.executable, "-I", "-B", __file__, str(source), str(writing)]
        with errors.open("wb") as stderr:
            child = subprocess.Popen(
                [*command, str(seconds), str(memory), str(int(namespace))],
                cwd=folder,
                env={"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(writing,),
                start_new_session=True,
            )
            os.close(writing)
            late = _wait(child, seconds)
        # Whoever still holds the pipe has just been killed, so this read comes to an end.
        with open(reading, encoding="utf-8") as pipe:
            said = pipe.read().split()
        lines = errors.read_text(encoding="utf-8", errors="replace").split("\n")
    why = next(filter(None, reversed(lines)), f"ended with status {child.returncode}")[:200]
    return Verdict(
        passed=not late and child.returncode == 0 and "passed" in said,
        why=f"not finished after {seconds:g} seconds" if late else why,
        network="namespace" if "namespace" in said else "audit hook",
    )


def _wait(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a child ran out of time; what it started is stopped in any case."""
    try:
        child.wait(6 * seconds + 5)
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode in (-signal.SIGXCPU, -signal.SIGKILL)


def _limit(seconds: float, memory: int) -> None:
    """Takes memory, time, file size and processes away, for good."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


def _leave_network() -> bool:
    """Moves to a network namespace that has no interfaces; whether the kernel allowed it."""
    try:
        return ctypes.CDLL(None, use_errno=True).unshare(NEW_USER | NEW_NETWORK) == 0
    except (AttributeError, OSError):
        return False


def _refuse(folder: Path, *, sockets: bool) -> None:
    """Adds a hook, which cannot be removed: no processes, no writing outside of the folder."""
    refused = (*REFUSED, "socket.") if sockets else REFUSED
    inside = f"{folder}{os.sep}"

    def outside(path: object) -> bool:
        if not isinstance(path, str | bytes):
            return False
        return not f"{os.path.realpath(os.fsdecode(path))}{os.sep}".startswith(inside)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event.startswith(refused):
            raise PermissionError(f"the sandbox refuses {event}")
        if event == "open" and outside(args[0]):
            mode, flags = args[1] or "", args[2]
            written = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            if set("wax+") & set(str(mode)) or (isinstance(flags, int) and flags & written):
                raise PermissionError(f"the sandbox refuses to write {args[0]!r}")
        if event.startswith(WRITING) and any(map(outside, args)):
            raise PermissionError(f"the sandbox refuses {event} outside of its folder")

    # Calling this module starts a process without raising an event.
    sys.modules["_posixsubprocess"] = None  # type: ignore[assignment]
    sys.addaudithook(hook)


def _child(source: str, pipe: str, seconds: str, memory: str, namespace: str) -> None:
    alone = namespace == "1" and _leave_network()
    program, said = Path(source).read_text(encoding="utf-8"), int(pipe)
    os.write(said, b"namespace\n" if alone else b"hook\n")
    _limit(float(seconds), int(memory))
    _refuse(Path(source).parent, sockets=not alone)
    code = compile(program, "program.py", "exec", dont_inherit=True)
    exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
    os.write(said, b"passed\n")


if __name__ == "__main__":
    _child(*sys.argv[1:])
