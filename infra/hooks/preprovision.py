"""Before ``azd provision``: finds what is missing while nothing has been made yet."""

from run_command import run

run("connect", "--check")
