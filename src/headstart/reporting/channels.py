"""What to say of images whose channels are no colours."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.reporting import words
from headstart.results import Channels, Results

GREY_PICTURES = (
    "Pictures show the first channel as grey, from its 1st percentile (black) to its 99th (white)."
)


def grey_pictures(results: Results) -> str:
    """What pictures show where there are no colours; "" of photographs."""
    return GREY_PICTURES if results.data.channels else ""


def about_channels(channels: Channels | None) -> Iterator[str]:
    """What became of the values of images whose channels are no colours; nothing of photographs."""
    if channels is None:
        return
    if channels.value_range:
        low, high = channels.value_range
        scaled = f"from the range {low:g} to {high:g}, values beyond it clipped"
    else:
        scaled = "from the range of each file's integer type, or from 0 to 1 for floating point"
    yield (
        f"Images have {words.plural(channels.count, 'channel')} that "
        f"{'is no colour' if channels.count == 1 else 'are no colours'}; values were scaled "
        f"{scaled}, and kept in 16 bits."
    )
    yield (
        "Each channel was normalised by its mean and standard deviation over the images that were "
        "pretrained on; no validation or test image is among them."
    )
    yield (
        "Random views crop, flip, blur, and change brightness and contrast of all channels alike; "
        "hue, saturation, greyscale and solarisation, which are for colours, were left out."
    )
    flat = [str(i) for i, std in enumerate(channels.std, 1) if std == 1]
    if flat:
        yield f"The same value everywhere in the pool: channel {words.listed(flat)}."
