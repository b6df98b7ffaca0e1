"""The commands, one module each. Every module's ``app`` is part of the program, so a new command is a new module."""
