"""An app directory for the stand-in host: the app on a machine whose clock is off."""
