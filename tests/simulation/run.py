"""`./dev simulate [SEEDS] [--from N] [--jobs N]` runs seeds on all cores; `--seed N` replays one and prints all of it.

Exit code 1 when a rule broke.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import traceback

from simulation.script import make_script
from simulation.shrink import shrink
from simulation.world import simulate


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="./dev simulate", description="Run simulated worlds; see docs/simulation.md.")
    parser.add_argument("seeds", nargs="?", type=int, default=100, help="how many (100)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (one per core)")
    parser.add_argument("--seed", type=int, help="replay this one and print its script and trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: look for a shorter script that fails alike")
    options = parser.parse_args()
    return replay(options) if options.seed is not None else run(options)


def replay(options):
    """One seed, with everything that happens."""
    script = make_script(options.seed)
    result = simulate(script)
    if options.shrink and result.problems:
        script = shrink(script, result.problems[0].rule)
    result = simulate(script, keep=True)
    print(script, "", *result.lines, sep="\n")
    print(_summary(options.seed, result))
    return 1 if result.problems else 0


def run(options):
    """Many seeds, and a line for each that fails."""
    began = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    failed = messages = crashes = 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for seed, result in pool.imap_unordered(one, seeds):
            if isinstance(result, str):
                failed += 1
                print(f"seed {seed}: the simulation itself failed\n{result}", flush=True)
                continue
            messages += result.messages
            crashes += result.crashes
            if result.problems:
                failed += 1
                print(_summary(seed, result), flush=True)
    seconds = time.monotonic() - began
    print(
        f"{len(seeds)} seeds from {options.first} in {seconds:.0f} s: {messages} messages, {crashes} crashes, "
        f"{failed} failed"
    )
    return 1 if failed else 0


def one(seed):
    """Run a seed in a process of the pool; a bug of the simulation comes back as text."""
    try:
        return seed, simulate(make_script(seed))
    except Exception:
        return seed, traceback.format_exc()


def _summary(seed, result):
    texts = [str(problem) for problem in result.problems]
    shown = "".join(f"\n  {text}" for text in texts[:8])
    more = f"\n  and {len(texts) - 8} more" if len(texts) > 8 else ""
    return f"seed {seed}: trace {result.print}, {len(texts)} broken{shown}{more}"
