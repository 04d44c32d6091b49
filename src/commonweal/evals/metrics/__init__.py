"""What is measured of a model: one module a family, each definition with its source."""
