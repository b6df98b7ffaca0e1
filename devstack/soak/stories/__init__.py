"""The stories of the soak test: short runs with real processes, each of which shows one way to lose or double a run."""

from typing import Final

from devstack.soak.stories.answers import ANSWERS
from devstack.soak.stories.clocks import CLOCKS
from devstack.soak.stories.outages import OUTAGES
from devstack.soak.stories.ownership import OWNERSHIP
from devstack.soak.stories.story import Story

STORIES: Final[tuple[Story, ...]] = (*ANSWERS, *OWNERSHIP, *CLOCKS, *OUTAGES)
"""All stories."""
