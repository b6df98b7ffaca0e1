"""Runs cases, and writes into those that differ what the routes decide now."""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import NamedTuple

from shared.deciding import Verdict
from tools.routes.cases.comparing import Difference, Observed, differences, observed
from tools.routes.cases.playing import Play
from tools.routes.cases.reading import Case
from tools.routes.cases.updating import edited, edits


class Result(NamedTuple):
    """The result of one case.

    :param observed: what the case should expect.
    """

    case: Case
    verdict: Verdict
    differences: Sequence[Difference]
    observed: Observed
    seconds: float

    @property
    def is_wrong(self) -> bool:
        """Whether the case expects something else, or does not say what it expects."""
        return bool(self.differences) or self.case.expect is None


def run(cases: Iterable[Case], play: Play) -> list[Result]:
    """Run each case."""
    return [_run(case, play) for case in cases]


def _run(case: Case, play: Play) -> Result:
    started = perf_counter()
    played = play(case)
    found = differences(case, played)
    return Result(case, played.verdict, found, observed(case, played), perf_counter() - started)


def updated_text(text: str, results: Iterable[Result]) -> str:
    """Return the text of the file with what each of these cases should expect.

    :raises CommandFailed: the layout of the file makes it impossible.
    """
    return edited(text, (edit for each in results for edit in edits(text, each.case.node, each.observed._asdict())))
