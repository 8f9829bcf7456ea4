"""What is known of the public collection our models are trained on, as the manifest carries it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from bundle.manifest import IntendedUse
from training.datasets.items import LABELS, Item

COLLECTION: Final = "Chest X-Ray Images (Pneumonia), Kermany et al. 2018"
ATTRIBUTION: Final = (
    'Trained on: D. Kermany, K. Zhang, M. Goldbaum, "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray '
    'Images for Classification", Mendeley Data, doi 10.17632/rscbjbr9sj, licensed under CC BY 4.0 '
    "(https://creativecommons.org/licenses/by/4.0/); images were resized for training. Paper: Kermany et al., "
    '"Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning", Cell 172 (2018).'
)

# From the first birthday up to, not including, the sixth: children of one to five. 6 x 365.25 = 2191.5; a child is
# five until the day it turns six, at the latest 2192 days after birth.
_AGE_DAYS: Final = (365, 2192)

INTENDED_USE: Final = IntendedUse(
    purpose="Marks chest radiographs of young children that may show pneumonia, for a radiologist to look at sooner.",
    population="Children of one to five years, one hospital (Guangzhou Women and Children's Medical Center).",
    age_days=_AGE_DAYS,
    views=("AP",),
    classes="Pneumonia (bacterial or viral) against normal, and nothing else.",
    limits=(
        "Every other finding is unknown to it: NOT_SUSPECTED never means normal.",
        (
            "The collection gives its classes away by framing, burnt-in letters, sharpness and compression. Figures on "
            "patients of the same collection therefore flatter: on its published test patients, the network of the "
            "notebook that this project starts from called almost half of the normal children ill (accuracy 0.71 to "
            "0.79, recall 0.99, AUC about 0.944); that is not a figure of this model. Expect low specificity elsewhere."
        ),
        "Judged on one hospital's selected images; not on any other hospital, device, age or view.",
        (
            "What is unlike the training images is marked UNFAMILIAR as far as that was measured, mostly on drawn and "
            "on transformed images; a chest that is framed otherwise than in the collection may be called so, too."
        ),
        (
            "Pneumonia is far commoner in the training data than in practice: set LUNGWATCH_SITE_PREVALENCE before "
            "reading a probability."
        ),
    ),
)

_NAMES: Final = {
    "NORMAL": re.compile(r"(?:NORMAL2-)?IM-\d+-\d+(?:-\d+)?|NORMAL-\d+-\d+"),
    "PNEUMONIA": re.compile(r"person\d+_(?:bacteria|virus)_\d+(?:_\d+)?|(?:BACTERIA|VIRUS)-\d+-\d+"),
}
# of each class; somebody may have put a picture of their own beside
_NAMED: Final = 0.99


def is_collection(items: Sequence[Item]) -> bool:
    """Tell by the names of its files whether a data set is the public collection, or a part of it.

    Practically every file of either class has to be named as the collection names that class: a viewer's export is
    called IM-0001-0001 as well, but nobody calls pneumonia person1_virus_2 who did not take it from there.
    """
    count = Counter(item.label for item in items)
    named = Counter(item.label for item in items if _NAMES[item.label].fullmatch(PurePosixPath(item.path).stem))
    return all(count[label] and named[label] >= _NAMED * count[label] for label in LABELS)
