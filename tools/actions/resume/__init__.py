"""What is deferred: the records that are tried again, and the messages that could not be handled."""
