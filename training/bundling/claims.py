"""What a bundle claims of its data: what they are, whose, and for whom a model trained on them may be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bundle.manifest import IntendedUse, wrong_fields
from core.errors import Misconfigured
from training.datasets.collection import ATTRIBUTION, COLLECTION, INTENDED_USE, is_collection
from training.datasets.dataset import Dataset
from training.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Claims:
    """What whoever trains says of the data; None for what they leave to the collection's own words.

    Attributes
    ----------
    origin : str or None
        What the data are.
    attribution : str or None
        Licence and source.
    intended_use : IntendedUse or None
    """

    origin: str | None = None
    attribution: str | None = None
    intended_use: IntendedUse | None = None

    def of(self, dataset: Dataset) -> tuple[str, str, IntendedUse]:
        """Return origin, attribution and intended use, for the manifest.

        Raises
        ------
        DatasetError
            If one is not said and the data set is not the public collection: nobody else can know it.
        """
        if is_collection(dataset.items):
            return self.origin or COLLECTION, self.attribution or ATTRIBUTION, self.intended_use or INTENDED_USE
        if self.origin and self.attribution and self.intended_use:
            return self.origin, self.attribution, self.intended_use
        said = {"--origin": self.origin, "--attribution": self.attribution, "--intended-use": self.intended_use}
        missing = ", ".join(option for option, value in said.items() if not value)
        raise DatasetError(
            f"{dataset.name} is not the public collection (by the names of its files), and what a bundle claims of its "
            f"data, its patients and their ages must be true: say {missing} (docs/model-card.md has an example)"
        )


def read_intended_use(path: Path) -> IntendedUse:
    """Read an intended use from a JSON file.

    Raises
    ------
    Misconfigured
        Naming the file, and the fields that are wrong.
    """
    try:
        return IntendedUse.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"the intended use {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise Misconfigured(
            f"{path} is no intended use: {wrong_fields(error, 'intended use')}; docs/model-card.md has an example"
        ) from None
