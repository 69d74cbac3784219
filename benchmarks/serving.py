"""How fast a running `effiseg serve` answers on this machine, and what it says when it is asked too much at once.

    effiseg serve runs/student &
    python benchmarks/serving.py photograph.jpg --clients 1 2 4 16 --requests 40 --json serving.json

Every client sends one request after the other; numbers and time are bounded, and no address but loopback is called.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
MOST_REQUESTS, MOST_CLIENTS, MOST_SECONDS = 2000, 64, 120.0


def main() -> None:
    """Parse, measure, print a table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--requests", type=int, default=40, help="of all clients together, for each number of clients")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.requests > MOST_REQUESTS or max(options.clients) > MOST_CLIENTS:
        parser.error(f"at most {MOST_REQUESTS} requests and {MOST_CLIENTS} clients")
    body = options.picture.read_bytes()
    measure(options.port, body, 1, 3)  # the first passes allocate
    rows = [measure(options.port, body, clients, options.requests) for clients in options.clients]
    print("| clients | answered | refused (503) | a second | median ms | 95 % within ms |")
    print("|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['clients']} | {row['answered']} | {row['refused']} | {row['per_second']:.1f} | "
            f"{row['median_ms']:.0f} | {row['p95_ms']:.0f} |"
        )
    if options.json is not None:
        result = {"picture_bytes": len(body), "health": health(options.port), "rows": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure(port: int, body: bytes, clients: int, requests: int) -> dict[str, Any]:
    """Send `requests` pictures from `clients` threads.

    Args:
        port: of the server.
        body: an image file.
        clients: requests at one time.
        requests: of all of them together.
    """
    end = time.monotonic() + MOST_SECONDS
    statuses: Counter[int] = Counter()
    times: list[float] = []
    left = iter(range(requests))
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < end:
            with lock:
                if next(left, None) is None:
                    return
            start = time.perf_counter()
            status = send(port, body)
            spent = 1000 * (time.perf_counter() - start)
            with lock:
                statuses[status] += 1
                if status == 200:
                    times.append(spent)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    assert set(statuses) <= {200, 503}, statuses
    ordered = sorted(times)
    return {
        "clients": clients,
        "answered": statuses[200],
        "refused": statuses[503],
        "per_second": statuses[200] / seconds,
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[int(0.95 * (len(ordered) - 1))],
    }


def send(port: int, body: bytes) -> int:
    """One request for a label PNG; its status."""
    connection = http.client.HTTPConnection(HOST, port, timeout=MOST_SECONDS)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def health(port: int) -> Any:
    """What the server says of itself."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", "/healthz")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


if __name__ == "__main__":
    main()
