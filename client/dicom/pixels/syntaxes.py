"""The transfer syntaxes Konsil decodes, and with which decoder: pinned, so that every hospital gets the same pixels
whatever else is installed there.

Rules. One decoder per syntax, the fastest of those that are right (docs/benchmarks.md); the decoders themselves are
in decoders.py. A decoder that is not installed everywhere may add images, never change one: that is so with 12-bit
JPEG, whose decoder is GPL and therefore optional (`pip install konsil[libjpeg]`), and with graphics cards (gpu.py).

Left out for want of a decoder that everybody may have: JPEG 2000 with transforms across components (Part 2), JPEG XL,
JPIP (the pixels are elsewhere), video, SMPTE streams, and encapsulated uncompressed pixels.
"""

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

#: PS3.5 A.4.13: each frame is a deflated stream of its native bytes
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"

#: transfer syntax → name of its decoder in decoders.py; "" for native pixels, which need none
DECODERS: dict[str, str] = {
    ImplicitVRLittleEndian: "",
    ExplicitVRLittleEndian: "",
    ExplicitVRBigEndian: "",
    DeflatedExplicitVRLittleEndian: "",
    DEFLATED_FRAMES: "zlib",
    RLELossless: "rle",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "charls",
    JPEGLSNearLossless: "charls",
    JPEG2000: "openjpeg",
    JPEG2000Lossless: "openjpeg",
    HTJ2K: "openjpeg",
    HTJ2KLossless: "openjpeg",
    HTJ2KLosslessRPCL: "openjpeg",
}

#: Compressed syntaxes of which every right decoder gives the same values.
LOSSLESS = frozenset(
    (
        RLELossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
        HTJ2KLossless,
        HTJ2KLosslessRPCL,
        DEFLATED_FRAMES,
    )
)
