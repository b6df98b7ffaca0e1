"""Deferred events come back automatically: a queue of messages, each with the key of a record."""
