"""How fast it is, measured against the alternatives: ``make bench``. Never deployed."""
