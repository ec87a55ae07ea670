"""Types of the fields of a design: counts, shares, and quantities that need a unit in a file."""

from typing import Annotated

from msgspec import Meta

__all__ = [
    "Amount", "Bytes", "Count", "Frequency", "Rate", "Ratio", "Seconds", "Watts", "Whole", "Work",
]  # fmt: skip

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(extra={"unit": "s"})]
Bytes = Annotated[float, Meta(extra={"unit": "B"})]
Rate = Annotated[float, Meta(extra={"unit": "B/s"})]
Watts = Annotated[float, Meta(extra={"unit": "W"})]
Work = Annotated[float, Meta(extra={"unit": "FLOP"})]
Frequency = Annotated[float, Meta(extra={"unit": "1/s"})]
