"""Model tests: claims, requests, lost answers, crashes and redeliveries in any order must keep all promises."""
