"""How long the search for near-copies takes, and what memory: random hashes with planted copies.

    python benchmarks/copies.py --hashes 1000000 --json benchmarks/copies.json
    python benchmarks/copies.py --table

Every hash is compared with every other, up to the distance at which a run lists pairs for review,
at most 100 of one image, in one thread. Thumbnails are not compared: their number is that of the
pairs found. A new count of hashes is added to the file.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from headstart.data.hamming import Bands, Hashes, near_hashes
from headstart.data.near import MOST, REVIEW_DISTANCE

PLANTED = 1000  # pairs of hashes that are just as far apart as is looked for


def main() -> None:
    """Measure one count of hashes, or print the table of what was measured."""
    options = _options()
    path: Path = options.json
    known = json.loads(path.read_text(encoding="utf8")) if path.exists() else {}
    if not options.table:
        known[str(options.hashes)] = measure(options.hashes, options.distance)
        path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf8")
    print(table(known))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--distance", type=int, default=REVIEW_DISTANCE)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "copies.json")
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def planted(count: int, distance: int) -> tuple[Hashes, set[tuple[int, int]]]:
    """Random hashes (N,), and the pairs among them that were made just so many bits apart."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    places = rng.permutation(count)[: 2 * PLANTED].reshape(PLANTED, 2)
    for i, j in places:
        flips = rng.choice(64, distance, replace=False).astype(np.uint64)
        hashes[j] = hashes[i] ^ np.bitwise_or.reduce(np.uint64(1) << flips)
    return hashes, {tuple(sorted(pair)) for pair in places.tolist()}


def measure(count: int, distance: int) -> dict[str, object]:
    """Search once; the seconds are the processor's, as other programs may run beside it."""
    hashes, expected = planted(count, distance)
    before = _peak()
    busy, clock, pairs = time.process_time(), time.perf_counter(), 0
    for i, j, _ in near_hashes(hashes, hashes, distance, MOST):
        other = i < j
        pairs += int(other.sum())
        expected -= set(zip(i[other].tolist(), j[other].tolist(), strict=True))
        print(f"{time.process_time() - busy:.0f} s: up to {i[-1] + 1:,} of {count:,}", flush=True)
    bands = Bands.cheapest(count, count, distance)
    return {
        "distance": distance,
        "bands": f"{bands.count} × {bands.bits}",
        "compared": bands.compared(count, count, distance),
        "core_seconds": time.process_time() - busy,
        "seconds": time.perf_counter() - clock,
        "peak_bytes": _peak(),
        "peak_bytes_before": before,
        "pairs": pairs,
        "planted_missed": len(expected),
        "numpy": np.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(known: dict[str, dict[str, object]]) -> str:
    """All counts as a table in Markdown."""
    lines = ["| hashes | bands × bits | pairs compared | core-seconds | peak memory, MB | found |"]
    lines.append("| ---: | --- | ---: | ---: | ---: | ---: |")
    for count, one in sorted(known.items(), key=lambda item: int(item[0])):
        lines.append(
            f"| {int(count):,} | {one['bands']} | {one['compared']:.1e} | "
            f"{one['core_seconds']:,.1f} | {one['peak_bytes'] / 1e6:,.0f} | {one['pairs']:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
