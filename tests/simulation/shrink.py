"""Makes a failing script short: steps are left out, in ever smaller pieces, while the same rule breaks."""

from __future__ import annotations

import attrs

from simulation.world import simulate


def shrink(script, rule, runs=60):
    """A script with fewer steps that still breaks `rule`; at most `runs` are tried."""
    steps = list(script.steps)
    size = max(1, len(steps) // 2)
    while runs > 0 and steps:
        at = 0
        shorter = False
        while at < len(steps) and runs > 0:
            fewer = steps[:at] + steps[at + size :]
            runs -= 1
            if breaks(attrs.evolve(script, steps=tuple(fewer)), rule):
                steps = fewer
                shorter = True
            else:
                at += size
        if size > 1:
            size = max(1, size // 2)
        elif not shorter:
            break
    return attrs.evolve(script, steps=tuple(steps))


def breaks(script, rule):
    """Whether this script breaks this rule."""
    return any(problem.rule == rule for problem in simulate(script).problems)
