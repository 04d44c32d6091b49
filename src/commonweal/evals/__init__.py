"""Evaluation: scenario x adaptation x metrics x model, down to every prompt (after HELM, Liang et al. 2022)."""
