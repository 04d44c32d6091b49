"""What a run says of where it was made, told without the place: for pages and labels that strangers read.

Owns which words of a text name a folder, a private host or a person. A run's own record keeps them: whoever made it
wants to do it again. Invariants: a path keeps its last part alone; an address keeps its host only where that is public
or the machine itself, and never a user, a password or a query. Pure.
"""

from __future__ import annotations

import re
import shlex
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

PRIVATE_HOST = "private-host"
"""Stands in place of a host that only its owner can reach."""

_PRIVATE_ENDINGS = (
    ".corp", ".home", ".home.arpa", ".internal", ".intranet", ".lan", ".local", ".localdomain", ".private", ".ts.net"
)  # fmt: skip
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+")
_PATH = re.compile(
    r"(?<![\w.:/~-])(?:(?:~[\w.-]*|/[^\s/'\",;:<>|`)]+)(?:/[^\s/'\",;:<>|`)]+)+/?|[A-Za-z]:\\[^\s'\",;<>|`]+)"
)
_WHOLE_PATH = re.compile(r"([^/~\\]*[=,:])?(~[\w.-]*/.*|/.+|[A-Za-z]:[\\/].*|\\\\.*)", re.DOTALL)
_ROUTES = ("/v1/", "/v2/", "/pool/", "/serve/", "/api/")


def placeless(text: str) -> str:
    """
    >>> placeless("no file /home/ada/data/x.jsonl at http://ada:pw@10.0.0.7:80/v1?key=1")
    'no file .../x.jsonl at http://private-host:80/v1'
    """
    if "/" not in text and "\\" not in text:
        return text
    parts, end = [], 0
    for match in _URL.finditer(text):
        parts += [_PATH.sub(_last_part, text[end : match.start()]), _address(match[0])]
        end = match.end()
    return "".join((*parts, _PATH.sub(_last_part, text[end:])))


def placeless_command(command: str) -> str:
    """A command line, word by word: a word that is a path may have white space in it.

    >>> placeless_command("commonweal eval --model '/home/Ada L/m' --data-root /srv/data --scenario gsm:level=1")
    'commonweal eval --model .../m --data-root .../data --scenario gsm:level=1'
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return placeless(command)
    told = shlex.join(map(_word, words))
    return told if told != shlex.join(words) else command


def _word(word: str) -> str:
    if "://" in word:
        return placeless(word)
    match = _WHOLE_PATH.fullmatch(word)
    return (match[1] or "") + _ending(match[2]) if match else word


def _last_part(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith(_ROUTES) else _ending(match[0])


def _ending(path: str) -> str:
    """A path by its last part; a home folder has none that is not a name."""
    parts = [part for part in re.split(r"[\\/]+", path) if part]
    homes = len(parts) <= 1 or (len(parts) == 2 and parts[0].lower() in ("home", "users"))
    return "..." if homes else f".../{parts[-1]}"


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return PRIVATE_HOST
    if parts.scheme == "file" or not host:
        return _ending(parts.path)
    name = (f"[{host}]" if ":" in host else host) if _is_anybodys(host) else PRIVATE_HOST
    return urlunsplit(
        (parts.scheme, name if port is None else f"{name}:{port}", parts.path, "", parts.fragment)
    )


def _is_anybodys(host: str) -> bool:
    """Whether a host says nothing of its owner: it is the machine itself, or has a public name or address."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return "." in host.strip(".") and not host.rstrip(".").endswith(_PRIVATE_ENDINGS)
    return address.is_loopback or address.is_global
