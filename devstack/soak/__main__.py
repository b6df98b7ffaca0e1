"""``python -m devstack.soak``: real processes against everything that can lose or double a run.

First the storm: thousands of events, with faults of all kinds and killed hosts. Then the stories: each shows one way to
lose or double a run, on SQLite and on Azurite. Everything is done twice, because it is not known whether Azure DevOps
honors the idempotency key of a request. The exit code is 0 only if every event ended with exactly one run, or was
parked where the app cannot tell.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final, get_args

from devstack.azurite import installation_problem
from devstack.soak.stories import STORIES
from devstack.soak.stories.stage import Idempotency, StoreName
from devstack.soak.stories.story import HONORED_FIRST, Story
from devstack.soak.storm import Storm

STORM: Final = "storm"
STORES: Final[tuple[StoreName, ...]] = get_args(StoreName)


def main() -> int:
    """Run the soak test and return the exit code."""
    arguments = _parse()
    needs_azurite = STORM in arguments.story or "azurite" in arguments.store
    if needs_azurite and (reason := installation_problem()) is not None:
        print(f"soak: {reason}", file=sys.stderr)
        return 2
    ways = arguments.idempotency
    storm = Storm(arguments.minutes / len(ways), arguments.events // len(ways), arguments.seed)
    survived = [storm.run(way) for way in ways if STORM in arguments.story]
    for story in STORIES:
        if story.name in arguments.story:
            survived += [_play(story, store, ways) for store in arguments.store]
    return 0 if all(survived) else 1


def _play(story: Story, store: StoreName, ways: list[Idempotency]) -> bool:
    """Play a story, print what came out, and return whether it was right."""
    all_good = True
    with tempfile.TemporaryDirectory(prefix="nextstage-soak-") as folder:
        for way, outcome, is_good in story.run(Path(folder), store, ways):
            print(f"{story.name}, {store}, idempotency {way}: {outcome}{'' if is_good else ' - WRONG'}", flush=True)
            all_good = all_good and is_good
    return all_good


def _parse() -> argparse.Namespace:
    names = [STORM, *(story.name for story in STORIES)]
    listing = "\n".join(f"  {story.name:28}{story.about}" for story in STORIES)
    parser = argparse.ArgumentParser(
        prog="python -m devstack.soak",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog=f"stories:\n  {STORM:28}thousands of events, with faults of all kinds and killed hosts\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--story", nargs="+", choices=names, default=names, metavar="NAME", help="default: all")
    parser.add_argument("--store", nargs="+", choices=STORES, default=STORES, help="for the stories; default: both")
    parser.add_argument(
        "--idempotency",
        nargs="+",
        choices=HONORED_FIRST,
        default=HONORED_FIRST,
        help="whether Azure DevOps honors the idempotency key; default: both, one after the other",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=3,
        help="the maximum duration of the storm's faults and kills (default: %(default)g)",
    )
    parser.add_argument("--events", type=int, default=5000, help="the storm's number of events (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=1, help="of the storm's random choices (default: %(default)d)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
