"""Documents of an account, cut into passages, searched, and cited in answers."""
