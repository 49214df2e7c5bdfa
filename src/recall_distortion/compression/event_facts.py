"""What is known of targets and of events in a training without torch; studies and pages read it."""

from __future__ import annotations

#: Which scores go, by the word of a study; a phrase each.
TARGETS: dict[str, str] = {
    "lowest": "what scores lowest",
    "highest": "what scores highest",
}
#: What an event takes for good.
PERMANENT = "permanent"
#: What becomes of what an event takes, by the word of a study; a phrase each.
REMOVALS: dict[str, str] = {
    PERMANENT: "it is gone",
    "zero_and_regrow": "its weights are held at zero for so many steps and then let go",
    "restore": "it is gone for so many steps and then put back as it was",
    "gaussian": "it stays, and before each of so many steps noise is added to its weights",
}
