"""Events to send: where they come from, how they are made, where they go."""
