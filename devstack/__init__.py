"""Everything that is needed to run nextstage without a cloud. Never deployed."""
