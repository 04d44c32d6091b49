"""``join --service``: the agent as a systemd user unit, started with the machine and restarted when it fails.

The join token is not in it: the machine has joined before, and its key is in the member's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import UserError
from commonweal.pool.worker.disk import write_whole

_UNIT = """\
[Unit]
Description={description}
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=30
# 2: a setting is wrong, 3: the hub refuses. Trying again does not help.
RestartPreventExitStatus=2 3
KillSignal=SIGTERM
TimeoutStopSec=60
Nice=10

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The unit's file, and the shell commands that put it to work, for its owner to read and run."""

    path: Path
    commands: tuple[str, ...]


def write_service(
    command: Sequence[str], folder: Path, *, name: str = "commonweal", hub: str = "a hub"
) -> Service:
    """Write the unit ``name`` that runs ``command`` (with an absolute path) into ``folder``, usually
    ~/.config/systemd/user. Raises UserError."""
    path = folder / f"{name}.service"
    text = unit_text(command, description=f"Commonweal: lends this machine to {hub}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return Service(
        path=path,
        commands=(
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {name}.service",
            "loginctl enable-linger  # so that it also runs while you are not logged in",
        ),
    )


def unit_text(command: Sequence[str], *, description: str) -> str:
    """The unit file. Raises UserError for what no unit file can say."""
    if not command or not command[0].startswith("/"):
        raise UserError("a service needs the absolute path of its program")
    line = " ".join(quoted(word) for word in command)
    return _UNIT.format(command=line, description=_plain(description.replace("%", "%%")))


def quoted(word: str) -> str:
    r"""One word of a command line, as systemd reads it (systemd.service(5), "Command lines").

    >>> print(quoted("plain"), quoted('5% of "$HOME"'))
    plain "5%% of \"$$HOME\""
    """
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    needed = escaped != word or not word or any(letter in word for letter in " \t';#")
    return f'"{escaped}"' if needed else word


def _plain(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise UserError(f"a service cannot have control characters in its words: {text[:40]!r}")
    return text
