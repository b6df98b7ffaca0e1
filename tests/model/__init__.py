"""Checks the whole of claim, send, lose, crash, lapse and redeliver against its promises, in any order."""
