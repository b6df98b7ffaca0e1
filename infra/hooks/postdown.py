"""After ``azd down``, because a person can still answer "no" to its question: disconnects the workspaces."""

from run_command import run

run("disconnect")
