"""Stand-ins for services, each on a socket."""
