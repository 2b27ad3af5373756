"""The course's way from photos to faces (DTU 02502, exercise on PCA of cats), written anew from its description.

One photo after the other with scikit-image: read, estimate the similarity transform from its first three landmarks to
those of the model cat, warp into the frame of the model cat, crop, save as JPEG.
"""

from pathlib import Path

import numpy as np
from skimage.io import imread, imsave
from skimage.transform import SimilarityTransform, warp
from skimage.util import img_as_ubyte

MODEL_CAT = np.array([(154, 173), (255, 163), (222, 254)], float)
FRAME = (474, 500)  # height and width of the model cat's picture
TOP, LEFT, SIZE = 5, 30, 360


def align(photo: Path, out: Path) -> None:
    """One photo, with its `.cat` file beside it, to one face."""
    numbers = np.array(photo.with_name(photo.name + ".cat").read_text().split()[1:7], float)
    transform = SimilarityTransform.from_estimate(numbers.reshape(3, 2), MODEL_CAT)
    warped = warp(imread(photo), transform.inverse, output_shape=FRAME)
    imsave(out, img_as_ubyte(warped[TOP : TOP + SIZE, LEFT : LEFT + SIZE]), check_contrast=False)
