"""Common English words, by kind, that the generated texts are made of. Each is short and in the vocabulary of the
usual tokenizers, most of them as one token with the space before them."""

from __future__ import annotations

KINDS = {
    "an animal": (
        "dog",
        "cat",
        "horse",
        "cow",
        "sheep",
        "bear",
        "wolf",
        "fox",
        "lion",
        "mouse",
        "duck",
        "goat",
    ),
    "a fruit": ("apple", "pear", "peach", "banana", "cherry", "grape", "lemon", "orange", "plum", "melon"),
    "a color": ("red", "blue", "green", "yellow", "black", "white", "brown", "purple", "gray", "pink"),
    "a tool": ("hammer", "saw", "knife", "shovel", "drill", "axe", "ladder", "brush", "rope", "wrench"),
    "a vehicle": ("car", "bus", "train", "truck", "boat", "ship", "plane", "bicycle", "wagon", "tram"),
    "a part of the body": ("hand", "foot", "arm", "leg", "head", "nose", "ear", "knee", "finger", "shoulder"),
    "a month": (
        "January",
        "March",
        "April",
        "June",
        "July",
        "August",
        "October",
        "November",
        "December",
        "May",
    ),
    "a drink": ("water", "milk", "tea", "coffee", "juice", "beer", "wine", "soda", "cocoa", "lemonade"),
}
"""Words that are of one of these kinds and of no other here."""

ADJECTIVES = (
    "old",
    "small",
    "quiet",
    "heavy",
    "bright",
    "long",
    "cold",
    "round",
    "empty",
    "soft",
    "dark",
    "plain",
)
NOUNS = (
    "house",
    "river",
    "road",
    "field",
    "garden",
    "bridge",
    "window",
    "table",
    "door",
    "wall",
    "tree",
    "stone",
)
VERBS = ("stood near", "lay behind", "faced", "was built before", "was as old as", "was larger than", "hid")
PLACES = (
    "in the village",
    "by the sea",
    "on the hill",
    "at the station",
    "across the square",
    "near the forest",
)
CITIES = (
    "Oslo",
    "Lima",
    "Cairo",
    "Delhi",
    "Paris",
    "Rome",
    "Tokyo",
    "Berlin",
    "Madrid",
    "Vienna",
    "Dublin",
    "Athens",
)

COMMON = tuple(
    dict.fromkeys(
        (*ADJECTIVES, *NOUNS, *(word for words in KINDS.values() for word in words if word.islower()))
    )
)
"""Words to be repeated, or to fill a prompt."""
