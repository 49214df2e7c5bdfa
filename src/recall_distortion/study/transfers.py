"""What a study says of tickets across data: masks of one data set that are trained on another."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recall_distortion.study.strict import Name, Strict


class Transfer(Strict):
    """A method that trains tickets of another data set: which, and from which weights."""

    ticket_from: Name = Field(
        description="The data set whose tickets are trained here. The study trains the same "
        "network on it, and prunes that by the method that of names."
    )
    of: Name = Field(
        description="The method whose tickets they are, one with retraining: rewind. Its masks are "
        "taken ratio by ratio, and seed by seed."
    )
    recipe: Name | None = Field(
        None,
        description="The recipe by which the network is trained on that data set; by default the "
        "one by which it is trained here.",
    )
    retraining: Literal["rewind", "shuffled", "reinit"] = Field(
        "rewind",
        description="What is trained under the mask: rewind, the weights of the other data set's "
        "training that its tickets begin with; shuffled, the same under the mask permuted at "
        "random within each layer; reinit, fresh weights.",
    )
