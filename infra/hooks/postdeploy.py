"""After ``azd deploy``, since an event subscription needs a function that exists: connects the workspaces."""

from run_command import run

run("connect")
