"""What is deferred comes back by itself: a queue of messages, each with the key of a record."""
