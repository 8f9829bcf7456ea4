"""Who we are in DICOM: the listener, the senders and the scope rules must agree on it."""

from __future__ import annotations

from typing import Final

# One UUID drawn once for this project, in the UUID-derived form of PS3.5 B.2; it never changes with the version.
IMPLEMENTATION_CLASS_UID: Final = "2.25.248327270964238273132157000425901140312"
# PS3.7 D.3.3.2.3: at most 16 characters.
IMPLEMENTATION_VERSION_NAME: Final = "LUNGWATCH_0_1"
# (0008,1090) of every object we create; what comes back with this model name is ours.
MANUFACTURER_MODEL: Final = "Lungwatch"
# (0008,103E) of every series we create begins with it.
SERIES_DESCRIPTION_PREFIX: Final = "Lungwatch result"
