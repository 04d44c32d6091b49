"""The label of a model: what went into it and what is known of it, from saved records, each fact with its record.

``records`` reads what a hub wrote down; ``from_hub``, ``from_training``, ``from_toml`` and ``runs`` make facts of
records; ``score`` counts what is told; ``json_form``, ``card`` and ``text`` show a label; ``checking`` proves it.
"""
