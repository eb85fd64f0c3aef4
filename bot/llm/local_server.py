"""What the embedded model's child process runs: one llama.cpp server on loopback, for the one process that started it.

It is started as a file, not as a module, and imports nothing of Parley, so that it can be started from anywhere. What it
says on standard output is one line of JSON: `{"address": ...}` once the model is loaded, or `{"missing": ...}` when the
server can't be imported. It lives as long as its standard input is open, so it never outlives the process that holds the
other end, however that one ends. `local.py` is that process.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any, NoReturn

KEY = "PARLEY_LOCAL_KEY"
"""The environment variable with the server's key: a command line can be read by every user of the machine."""

SLOTS = 2
CONTEXT_PER_SLOT = 4096
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def main(model: str, name: str, threads: str, parent: str) -> NoReturn:
    _keep_to_ourselves(int(parent))
    # The server may print what it likes; the line for the parent has a descriptor of its own.
    line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as exc:
        line.write(json.dumps({"missing": str(exc)}) + "\n")
        line.flush()
        os._exit(1)
    server = xllamacpp.Server(_parameters(xllamacpp, model, name, int(threads)))  # returns when the model is loaded
    line.write(json.dumps({"address": server.listening_address}) + "\n")
    line.close()
    threading.Event().wait()
    os._exit(0)


def _parameters(xllamacpp: Any, model: str, name: str, threads: int) -> Any:
    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.model_alias, wanted.offline = model, {name}, True
    wanted.hostnames, wanted.port, wanted.api_keys = ["127.0.0.1"], 0, [os.environ.pop(KEY)]
    wanted.ui, wanted.cors_origins, wanted.endpoint_slots = False, "", False
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
    wanted.n_parallel, wanted.n_ctx = SLOTS, SLOTS * CONTEXT_PER_SLOT
    wanted.sampling.temp, wanted.sampling.top_p = 0.3, 0.9  # small models wander off at llama.cpp's own 0.8
    wanted.cache_ram_mib = 256
    # Moving what was read to another place of the cache (`n_cache_reuse`) would save 10 s when old messages fall away, but
    # carries traces of what stood before it, also into other conversations: nothing is shared between conversations here.
    wanted.n_cache_reuse = 0
    wanted.sse_ping_interval = 5  # a long prompt is read in silence; the comments tell the client that we are at it
    return wanted


def _keep_to_ourselves(parent: int) -> None:
    """Leave no core dump with people's words in it, and ignore the signals that mean the parent.

    Ctrl-C and a service manager's SIGTERM reach the whole process group; answers that are under way are finished first,
    and then the parent ends us.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a core dump that is piped to a program does not ask for the limit above
        # Loading the model holds the interpreter, and with it the thread that watches standard input.
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(0)


def _leave_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
