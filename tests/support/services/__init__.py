"""Stand-ins for services, most of them on a socket."""
