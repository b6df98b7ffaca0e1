"""What the commands do; what they print is theirs."""
