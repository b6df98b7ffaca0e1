"""The operator's commands behind ``manage.py``. They import the app; the app never imports them.

Each command is a module in ``commands/``. It prints through ``console.py`` and gets settings, journal and routes from
``installation.py``. On failure it raises an exception (``errors.py``), which ``cli.py`` turns into one line and an
exit code.
"""
