"""Does a program that knows nothing of our models see a cat's face in a picture?"""

import cv2
import numpy as np
from torch import Tensor

SIDE = 256  # pictures are enlarged to it, bilinearly

# With these the cascade finds 0.76 of real faces at 64×64 pixels.
SCALE_FACTOR = 1.05
MIN_NEIGHBORS = 3
MIN_SIZE = SIDE // 2  # an aligned face fills most of the picture


def cat_faces(pictures: Tensor) -> np.ndarray:
    """In which pictures OpenCV's cascade for frontal cat faces (Howse 2014) finds one or more.

    Args:
        pictures: `(B, 3, H, W)` in [-1, 1].

    Returns:
        `(B,)` bool.
    """
    from concurrent.futures import ThreadPoolExecutor

    from vae.data.store import cores, one_thread_each

    levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()

    def look(part: np.ndarray) -> list[bool]:
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalcatface.xml")  # one a thread
        return [_sees(cascade, picture) for picture in part]

    with one_thread_each(), ThreadPoolExecutor(cores()) as pool:
        return np.array([seen for part in pool.map(look, np.array_split(levels, cores())) for seen in part], bool)


def _sees(cascade: cv2.CascadeClassifier, picture: np.ndarray) -> bool:
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return len(cascade.detectMultiScale(grey, SCALE_FACTOR, MIN_NEIGHBORS, minSize=(MIN_SIZE, MIN_SIZE))) > 0
