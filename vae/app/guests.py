"""The cats that people have uploaded, in memory alone, each under a key that only its owner knows."""

import secrets
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.projected import Projected

MAX_GUESTS = 32  # people whose photos are kept; about 15 MB each
MAX_IDLE = 3600  # seconds after which a photo that nobody uses is forgotten


@dataclass
class Guest:
    """One person's cat; a field is None until the step that makes it."""

    model: str = ""  # name of the model that the face was aligned for
    photo: np.ndarray | None = None  # (H, W, 3) uint8
    landmarks: np.ndarray | None = None  # (3, 2): left eye, right eye and mouth in the photo; None: its centre is used
    x: Tensor | None = None  # (1, 3, S, S) in [-1, 1], the aligned face
    projected: Projected | None = None
    edited: Projected | None = None  # the projected cat, moved by the sliders
    film: Tensor | None = None  # (T, 3, S, S) in [-1, 1]
    used: float = field(default_factory=time.monotonic)  # seconds


class Guests:
    """The people whose cats are in memory; the longest idle one makes room for a new one."""

    def __init__(self) -> None:
        self._guests: dict[str, Guest] = {}
        self._lock = threading.Lock()

    def enter(self, key: str | None, guest: Guest) -> str:
        """Keep a guest in place of the one with the same key, and return the key; None for a new one."""
        key = key or secrets.token_urlsafe(16)
        with self._lock:
            self._guests.pop(key, None)
            self._guests[key] = guest
            self._forget()
        return key

    def get(self, key: str | None) -> Guest:
        """Return the guest with a key.

        Raises:
            InputError: there is none, or no longer.
        """
        with self._lock:
            self._forget()
            guest = self._guests.pop(key or "", None)
            if guest is None:
                raise InputError("There is no photo of yours in memory. Please choose one.")
            guest.used = time.monotonic()
            self._guests[key] = guest  # The last one is the most recent.
            return guest

    def _forget(self) -> None:
        idle = [key for key, guest in self._guests.items() if guest.used < time.monotonic() - MAX_IDLE]
        for key in dict.fromkeys([*idle, *list(self._guests)[:-MAX_GUESTS]]):
            del self._guests[key]
