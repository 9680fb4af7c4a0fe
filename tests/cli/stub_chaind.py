"""`chaind` whose nodes are stubs: every command is the real one, and `run` is a small HTTP server.

STUB_<NAME> in the environment makes the node of that name misbehave: `dies` at once, `deaf` to
SIGTERM, `slow` to agree on anything. STUB_READY_S bounds the wait for a final block.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from chaind.cli import main, processes, supervise


class Node(BaseHTTPRequestHandler):
    """Answers /status and balances."""

    height = 1

    def do_GET(self) -> None:
        answer = (
            {"balance": "7.5"}
            if "balance" in self.path
            else {"height": self.height, "head_height": self.height}
        )
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the log is for what the tests look for."""


def run_stub(arguments: list[str]) -> None:
    """Serve as the node of `chaind run ARGUMENTS` until SIGTERM."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    name = os.environ["CHAIND_NODE_NAME"]
    custody = os.environ["CHAIND_CUSTODY_ENABLED"]
    fault = os.environ.get(f"STUB_{name.upper()}")
    print(f"{name} custody={custody} {arguments}", flush=True)
    miner = [os.environ.get(f"CHAIND_MINER_{key}", "-") for key in ("ADDRESS", "PACE_PERCENT")]
    print(f"mines={miner[0]} {miner[1]}{'%' if miner[1] != '-' else ''}", flush=True)
    if fault == "dies":
        print("out of luck", flush=True)
        sys.exit(3)
    if fault == "slow":
        Node.height = 0
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name} closed"))
    assert Path(options["--home"], "genesis.json").is_file()
    HTTPServer(("127.0.0.1", int(options["--api-port"])), Node).serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_stub(sys.argv[2:])
    processes.CHAIND = (sys.executable, __file__)
    supervise.END_GRACE_S = 1.0
    supervise.READY_S_MAX = float(os.environ.get("STUB_READY_S", "30"))
    main.main()
