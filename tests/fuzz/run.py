"""Fuzzing beyond what CI has time for: `./dev fuzz TARGET [SECONDS] [SEED]`; without a target, their names.

With atheris (`pip install atheris`) the search is guided by coverage; without, it is seeded mutation, always the same.
`session` is the fuzzer of whole sessions, see fuzz_session.py. The corpus is made of the seeds and thrown away; what is
found is printed, as bytes to put into a test. Exit code 1 when there is a defect.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz_targets import TARGETS, Target, mutated


def main(arguments: list[str]) -> int:
    """Run one target."""
    name = arguments[0] if arguments else ""
    seconds = float(arguments[1]) if len(arguments) > 1 else 60.0
    seed = int(arguments[2]) if len(arguments) > 2 else 1
    if name == "session":
        from fuzz_session import campaign

        return campaign(seconds, seed)
    if name not in TARGETS:
        print(f"targets: {', '.join([*TARGETS, 'session'])}")
        return 2
    try:
        import atheris
    except ImportError:
        return by_mutation(name, TARGETS[name], seconds, seed)
    return by_coverage(atheris, TARGETS[name], seconds, seed)


def by_mutation(name: str, target: Target, seconds: float, seed: int) -> int:
    """Mutants of the seeds until the time is over."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutated(target, chance)
        count += 1
        try:
            target.run(data)
        except Exception:
            traceback.print_exc()
            print(f"{name}: input {count} of seed {seed}: {data!r}")
            return 1
    print(f"{name}: {count} inputs of seed {seed}, nothing found")
    return 0


def by_coverage(atheris: object, target: Target, seconds: float, seed: int) -> int:
    """libFuzzer, with the code under test instrumented. It ends the process by itself when it finds something."""
    instrument = atheris.instrument_all  # type: ignore[attr-defined]
    instrument()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(data)
        words = Path(folder) / "words"
        words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words))
        options = [f"-max_total_time={int(seconds)}", f"-seed={seed}", "-max_len=4096", f"-artifact_prefix={folder}/"]
        atheris.Setup(["fuzz", str(corpus), f"-dict={words}", *options], target.run)  # type: ignore[attr-defined]
        atheris.Fuzz()  # type: ignore[attr-defined]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
