"""From class indices back to the values of the data set's masks."""

from __future__ import annotations

import numpy as np

from effiseg.errors import UsageError
from effiseg.models.metadata import ModelMetadata
from effiseg.visualization.label_colours import UInt8Array


def raw_id_table(metadata: ModelMetadata) -> UInt8Array:
    """The mask value of every class, as a table to index with labels.

    Args:
        metadata: the model's; without a label_mapping the classes are the values.

    Returns:
        (256,) uint8; what is no class stays.

    Raises:
        UsageError: a class comes from several mask values or from none, or its value does not fit in 8 bits.
    """
    table = np.arange(256, dtype=np.uint8)
    if metadata.label_mapping is None:
        return table
    for index, name in enumerate(metadata.names):
        values = [raw for raw, target in metadata.label_mapping.items() if target == index]
        if len(values) != 1:
            found = f"{', '.join(map(str, values[:-1]))} and {values[-1]} collide" if values else "none is mapped to it"
            raise UsageError(
                f"--label_ids needs one mask value for each class; for class {index} ({name}) {found}; "
                "leave --label_ids out to get class indices"
            )
        if not 0 <= values[0] <= 255:
            raise UsageError(
                f"--label_ids writes values of 8 bits, 0 to 255; class {index} ({name}) has {values[0]}; "
                "leave --label_ids out to get class indices"
            )
        table[index] = values[0]
    return table
