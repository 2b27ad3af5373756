"""An object store on this machine, for benchmarks: moto's server of S3 in a process of its own."""

import subprocess
import sys


def start() -> tuple[subprocess.Popen, str]:
    """Start the server; return its process and its address."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.object_store"], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def main() -> None:
    import logging
    import threading

    from moto.server import ThreadedMotoServer

    logging.disable(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
