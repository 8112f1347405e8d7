"""What an uplink has, kept here: packuments, tarballs, and what is only passed on."""
