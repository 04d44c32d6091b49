"""The label of a model: what went into it and what is known of it, from saved records, each fact with its record.

``questions`` are what every label is asked, ``facts`` what it is. ``records`` reads what a hub wrote down, ``folder``
what lies beside a checkpoint; ``from_hub``, ``from_training``, ``from_data``, ``from_toml`` and ``runs`` make facts of
that, ``inheritance`` adds those of a base. ``score`` counts what is told; ``json_form``, ``card`` and ``text`` show a
label; ``checking`` and ``proofs`` prove it.
"""
