"""The work of the commands, without their options and help."""
