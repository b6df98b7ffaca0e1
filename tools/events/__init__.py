"""Events to send: their sources, their content, their targets."""
