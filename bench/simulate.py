"""``python -m bench.simulate``: simulate a burst of a million events, too large to measure on one machine.

In the simulation, Event Grid repeats deliveries, Flex Consumption adds instances, the partition of each route accepts a
limited number of entities, and Azure DevOps refuses requests above its limit. Scenarios run with the throttle gate,
which holds requests back for as long as Azure DevOps asks, without it, and with RESUME_STORAGE, where what is deferred
waits in a queue of the app.

Writes bench/simulation.json, docs/burst.svg and the table in docs/performance.md. The random numbers are seeded, so the
result is the same every time. Takes some minutes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench import page
from bench.burst.azure_devops import LIMIT_TSTU
from bench.burst.burst import Burst
from bench.burst.plot import draw
from bench.burst.resume import ResumedBurst
from bench.burst.scenario import Outcome, Scenario

RESULTS: Final = Path(__file__).parent / "simulation.json"
PLOT: Final = Path(__file__).parent.parent / "docs" / "burst.svg"
BLOCK: Final = "burst"
HEADERS: Final = (
    *("scenario", "runs queued by the app", "dead letters", "all done after", "redeliveries"),
    *("refused by Azure DevOps", "timed out", "peak instances", "cost"),
)

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "gate": Scenario(),
    "no gate": Scenario(has_gate=False),
    "gate, a run is 0.01 TSTU": Scenario(run_tstu=0.01, refusal_tstu=0.001),
    "no gate, a run is 0.01 TSTU": Scenario(run_tstu=0.01, refusal_tstu=0.001, has_gate=False),
    "gate, a run is 0.2 TSTU": Scenario(run_tstu=0.2, refusal_tstu=0.02),
    "no gate, a run is 0.2 TSTU": Scenario(run_tstu=0.2, refusal_tstu=0.02, has_gate=False),
    "gate, refusals cost nothing": Scenario(refusal_tstu=0.0),
    "no gate, refusals cost nothing": Scenario(refusal_tstu=0.0, has_gate=False),
    "gate, 8 routes": Scenario(routes=8),
    "gate, 100,000 events": Scenario(events=100_000),
    "no gate, 100,000 events": Scenario(events=100_000, has_gate=False),
    "gate, 10,000 events": Scenario(events=10_000),
    "no gate, 10,000 events": Scenario(events=10_000, has_gate=False),
    "resume": Scenario(has_resume=True),
    "resume, 100,000 events": Scenario(events=100_000, has_resume=True),
    "resume, 100,000 events, 1 instance": Scenario(events=100_000, has_resume=True, most_instances=1),
    "resume, 100,000 events, always 40 instances": Scenario(events=100_000, has_resume=True, least_instances=40),
    "resume, 100,000 events, a run is 0.01 TSTU": Scenario(
        events=100_000, has_resume=True, run_tstu=0.01, refusal_tstu=0.001
    ),
    "resume, 100,000 events, a run is 0.2 TSTU": Scenario(
        events=100_000, has_resume=True, run_tstu=0.2, refusal_tstu=0.02
    ),
    "resume, 10,000 events": Scenario(events=10_000, has_resume=True),
}
PLOTTED: Final = ("resume", "gate", "no gate")


def burst(scenario: Scenario) -> Burst:
    """Return the simulation of a scenario."""
    return ResumedBurst(scenario) if scenario.has_resume else Burst(scenario)


def simulate(scenarios: Mapping[str, Scenario]) -> dict[str, Outcome]:
    """Play each scenario and return the outcomes by name."""
    return {name: burst(scenario).play() for name, scenario in scenarios.items()}


def to_document(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the content of the results file: the outcomes without their curves."""
    return {
        name: {figure: round(value, 3) for figure, value in asdict(outcome).items() if figure != "curve"}
        for name, outcome in outcomes.items()
    }


def markdown(document: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table for docs/performance.md."""
    rows = [
        [
            name,
            f"{figures['queued']:,}",
            f"{figures['dead_lettered']:,}",
            f"{figures['drained_hours']:.1f} h",
            f"{figures['redeliveries']:,}",
            f"{figures['refused']:,}",
            f"{figures['timed_out']:,}",
            f"{figures['peak_instances']}",
            f"${figures['cost']:.2f}",
        ]
        for name, figures in document.items()
    ]
    return page.table(HEADERS, rows)


def main() -> None:
    outcomes = simulate(SCENARIOS)
    document = to_document(outcomes)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    plotted = {name: outcomes[name] for name in PLOTTED}
    PLOT.write_text(draw(plotted, events=SCENARIOS[PLOTTED[0]].events, limit_tstu=LIMIT_TSTU), encoding="utf-8")
    shown = markdown(document)
    page.put(BLOCK, shown)
    print(shown)


if __name__ == "__main__":
    main()
