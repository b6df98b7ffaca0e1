"""Everything needed to run nextstage with no cloud; never deployed."""
