"""The commands, one module each. The program includes the ``app`` of every module, so a new command is a new module."""
