"""The operator's commands, behind ``manage.py``. They import the app; the app imports none of them.

A command is a module ``…_commands.py`` that ``cli.py`` adds to the program; what it prints goes through ``console.py``,
what it needs of the app comes from ``installation.py``, and what goes wrong is raised (see ``errors.py``) and becomes
one line and an exit code in ``cli.py``.
"""
