"""Before ``azd deploy``: waits until the roles of a new app are old enough for the upload of its package."""

from run_command import run

run("connect", "--check")
