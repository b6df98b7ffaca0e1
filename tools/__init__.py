"""The operator's commands, behind ``manage.py``. They import the app; the app imports none of them.

A command is a module of ``commands/``. It prints through ``console.py`` and takes what it needs of the app from
``installation.py``. It raises what goes wrong (``errors.py``), which ``cli.py`` turns into one line and an exit code.
"""
