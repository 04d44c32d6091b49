"""What changes an instance and should not change its answer (HELM, section 4.5): word lists are versioned data."""
