#!/usr/bin/env python3
"""Makes the golden data of test/model/test_image.c and test_preprocess.c: what Pillow and transformers give.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 numpy transformers==5.23.0
    venv/bin/python scripts/golden_images.py

Run it from the root of the tree; it overwrites test/data/images and test/data/preprocess.

Everything is seeded, so a second run with the same versions changes nothing. Pixels are compared by BLAKE2b-256; the
pixels expected of a JPEG are also kept as a PNG, because another libjpeg than Pillow's may differ by one level.
"""

import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy
from PIL import Image, ImageOps, PngImagePlugin

IMAGES = pathlib.Path("test/data/images")
PREPROCESS = pathlib.Path("test/data/preprocess")
ORIENTATION = 274


def digest(array):
    return hashlib.blake2b(numpy.ascontiguousarray(array).tobytes(), digest_size=32).hexdigest()


def noise(seed, width, height):
    """Pixels that the C tests make again: the top byte of a linear congruential generator, or (odd seeds) its top bit."""
    state = seed
    values = bytearray(width * height * 3)
    for i in range(len(values)):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = state >> 24 if seed % 2 == 0 else 255 * (state >> 31)
    return numpy.frombuffer(bytes(values), numpy.uint8).reshape(height, width, 3)


def photo(width, height, seed=2):
    """Something with the smoothness of a photograph: a few noisy pixels, enlarged."""
    small = Image.fromarray(noise(seed, max(2, width // 12), max(2, height // 12)))
    return small.resize((width, height), Image.Resampling.BICUBIC)


# ---- pictures ----


def reference(data):
    """What transformers.image_utils.load_image makes of a file."""
    return numpy.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def save(image, kind, **options):
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def orientation(value, endian="<"):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    exif.endian = endian
    return exif


def set_adobe_transform(data, transform):
    """Turns the CMYK JPEG that Pillow writes into one that says YCCK: the same numbers, another meaning."""
    at = data.index(b"Adobe")
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


def jpegs():
    picture = photo(97, 61)
    for name, layout in (("444", 0), ("422", 1), ("420", 2), ("411", "4:1:1")):
        yield f"ycc_{name}", save(picture, "JPEG", quality=85, subsampling=layout)
    yield "progressive", save(picture, "JPEG", quality=85, progressive=True)
    yield "progressive_444", save(picture, "JPEG", quality=60, progressive=True, subsampling=0)
    yield "grey", save(picture.convert("L"), "JPEG", quality=85)
    yield "rgb", save(picture, "JPEG", quality=85, keep_rgb=True)
    cmyk = save(picture.convert("CMYK"), "JPEG", quality=85)
    yield "cmyk", cmyk
    yield "ycck", set_adobe_transform(cmyk, 2)
    yield "optimized_restarts", save(picture, "JPEG", quality=40, optimize=True, restart_marker_blocks=3)
    yield "one_pixel", save(photo(1, 1), "JPEG")
    yield "narrow", save(photo(3, 50), "JPEG", quality=90)
    yield "large", save(photo(401, 307), "JPEG", quality=75)
    small = photo(31, 18)
    for value in range(1, 9):
        yield f"exif_{value}", save(small, "JPEG", quality=85, exif=orientation(value, "<>"[value % 2]))
    yield "exif_damaged", save(small, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    yield "xmp_6", save(small, "JPEG", xmp=b'<rdf:Description tiff:Orientation="6"/>')


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(rows, bits):
    """PNG rows, each after its filter byte: samples of 1 to 16 bits, the first in the highest bits."""
    output = bytearray()
    for row in rows:
        digits = "".join(format(int(value), f"0{bits}b") for value in row)
        digits += "0" * (-len(digits) % 8)
        output += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    return bytes(output)


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(samples, bits, kind, interlaced=False, before=b""):
    height, width = samples.shape[:2]
    parts = [samples[y::down, x::across] for x, y, across, down in PASSES] if interlaced else [samples]
    data = b"".join(pack(part.reshape(part.shape[0], -1), bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
            + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def pngs():
    random = numpy.random.default_rng(1)
    kinds = {"grey": (0, 1, (1, 2, 4, 8, 16)), "rgb": (2, 3, (8, 16)), "palette": (3, 1, (1, 2, 4, 8)),
             "grey_alpha": (4, 2, (8, 16)), "rgba": (6, 4, (8, 16))}
    for name, (kind, channels, depths) in kinds.items():
        for bits in depths:
            for interlaced in (False, True):
                samples = random.integers(0, 2**bits, (19, 23, channels))
                if bits == 16:  # half of them small, where clipping and the high byte differ
                    samples = numpy.where(random.random(samples.shape) < 0.5, samples % 400, samples)
                before = b""
                if kind == 3:
                    before = chunk(b"PLTE", random.integers(0, 256, 3 * 2**bits, numpy.uint8).tobytes())
                    before += chunk(b"tRNS", bytes([0, 128]))
                yield f"{name}_{bits}{'_interlaced' if interlaced else ''}", png(samples, bits, kind, interlaced, before)
    samples = random.integers(0, 256, (5, 7, 3))
    yield "transparent_gamma", png(samples, 8, 2, before=chunk(b"gAMA", struct.pack(">I", 100000))
                                   + chunk(b"tRNS", b"\0\1\0\2\0\3"))
    yield "short_palette", png(samples[..., :1] % 16, 4, 3, before=chunk(b"PLTE", bytes(range(10, 19))))
    yield "one_pixel", png(samples[:1, :1], 8, 2)
    small = photo(9, 5)
    for value in range(1, 9):
        yield f"exif_{value}", save(small, "PNG", exif=orientation(value, "<>"[value % 2]))
    prefixed = chunk(b"eXIf", orientation(6).tobytes())
    assert prefixed[8:14] == b"Exif\0\0"
    yield "exif_prefixed", png(noise(0, 6, 4), 8, 2, before=prefixed)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<tiff:Orientation>8</tiff:Orientation>", zip=True)
    yield "xmp_8", save(small, "PNG", pnginfo=text)
    exif = orientation(6).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)
    yield "raw_profile_6", save(small, "PNG", pnginfo=text)


def write_images():
    lines = []
    for extension, files in (("jpg", jpegs()), ("png", pngs())):
        for name, data in files:
            pixels = reference(data)
            (IMAGES / f"{name}.{extension}").write_bytes(data)
            lines.append(f"{name}.{extension} {pixels.shape[1]} {pixels.shape[0]} {digest(pixels)}")
            if extension == "jpg":
                (IMAGES / "expected" / f"{name}.png").write_bytes(save(Image.fromarray(pixels), "PNG", optimize=True))
    (IMAGES / "expected.txt").write_text("\n".join(lines) + "\n")
    # 8 MB of text in 8 kB: Pillow allows it, the C decoder leaves such a chunk out and keeps the picture
    bomb = chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"x" * 8000000, 9))
    (IMAGES / "text_bomb.png").write_bytes(png(noise(0, 5, 4), 8, 2, before=bomb))


# ---- resizing ----


def write_resizes():
    sizes = [(1, 1, 5, 3), (5, 3, 1, 1), (97, 61, 224, 224), (640, 3, 224, 224), (3, 640, 224, 224), (224, 224, 224, 224),
             (224, 100, 224, 224), (100, 224, 224, 224), (301, 224, 224, 224), (224, 301, 224, 224), (400, 300, 256, 256),
             (300, 400, 224, 224), (17, 300, 16, 10), (50, 60, 45, 50), (50, 61, 45, 50), (1, 500, 1, 7), (500, 1, 7, 1),
             (7, 9, 255, 3), (8, 257, 98, 55), (129, 117, 47, 32)]
    random = numpy.random.default_rng(2)
    sizes += [tuple(int(edge) for edge in random.integers(1, 90, 4)) for _ in range(25)]
    lines = []
    for seed, (width, height, new_width, new_height) in enumerate(sizes):
        picture = Image.fromarray(noise(seed, width, height))
        for choice in range(6):
            pixels = numpy.array(picture.resize((new_width, new_height), choice))
            lines.append(f"{choice} {seed} {width} {height} {new_width} {new_height} {digest(pixels)}")
    (PREPROCESS / "resizes.txt").write_text("\n".join(lines) + "\n")


# ---- whole configurations ----

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

CONFIGS = {
    "vit_untyped": {"do_normalize": True, "do_resize": True, **HALVES, "size": 224},
    "vit_extractor": {"do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor", **HALVES,
                      "resample": 2, "size": 224},
    "vit": {"do_normalize": True, "do_rescale": True, "do_resize": True, **HALVES,
            "image_processor_type": "ViTImageProcessor",
            "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 384, "width": 384}},
    "vit_fast": {"do_convert_rgb": None, "crop_size": None, "do_center_crop": None, "data_format": "channels_first",
                 "image_processor_type": "ViTImageProcessorFast", "size": {"height": 224, "width": 224}, "resample": 3},
    "vit_defaults": {"image_processor_type": "ViTImageProcessor"},
    "vit_nulls": {"image_processor_type": "ViTImageProcessor", "do_resize": None, "size": None, "resample": None,
                  "do_rescale": None, "rescale_factor": None, "do_normalize": None, "image_mean": None},
    "deit_null_square": {"image_processor_type": "DeiTImageProcessor", "default_to_square": None, "size": 70,
                         "crop_size": 60},
    "deit_null_crop": {"image_processor_type": "DeiTImageProcessor", "do_center_crop": None, "crop_size": None, "size": 30},
    "vit_scalars": {"image_processor_type": "ViTImageProcessor", "image_mean": 0.45, "image_std": 0.225},
    "vit_rescale_only": {"image_processor_type": "ViTImageProcessor", "do_normalize": False, "size": [48, 64]},
    "vit_normalize_only": {"image_processor_type": "ViTImageProcessor", "do_rescale": False, "image_mean": [120, 110, 100],
                           "image_std": [58.395, 57.12, 57.375], "size": {"height": 32, "width": 48}},
    "vit_bytes": {"image_processor_type": "ViTImageProcessor", "do_rescale": False, "do_normalize": False, "size": 16},
    "vit_other_factor": {"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.00784313725490196, **IMAGENET},
    "deit_extractor": {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
                       "feature_extractor_type": "DeiTFeatureExtractor", **IMAGENET, "resample": 3, "size": 256},
    "deit": {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_normalize": True, "do_rescale": True,
             "do_resize": True, "image_processor_type": "DeiTImageProcessor", **IMAGENET, "resample": 3,
             "rescale_factor": 0.00392156862745098, "size": {"height": 256, "width": 256}},
    "deit_384": {"crop_size": 384, "do_center_crop": True, "feature_extractor_type": "DeiTFeatureExtractor", **IMAGENET,
                 "resample": 3, "size": 438},
    "deit_defaults": {"image_processor_type": "DeiTImageProcessorFast"},
    "deit_shortest": {"image_processor_type": "DeiTImageProcessor", "size": {"shortest_edge": 70}, "crop_size": [64, 48]},
    "deit_integer_edge": {"image_processor_type": "DeiTImageProcessor", "size": 70, "default_to_square": False,
                          "crop_size": 64},
    "deit_between": {"image_processor_type": "DeiTImageProcessor", "size": {"shortest_edge": 70, "longest_edge": 90},
                     "crop_size": 64},
    "deit_between_free": {"image_processor_type": "DeiTImageProcessor", "size": {"shortest_edge": 20, "longest_edge": 900},
                          "crop_size": 21},
    "deit_padded": {"image_processor_type": "DeiTImageProcessor", "size": {"height": 33, "width": 70},
                    "crop_size": {"height": 64, "width": 65}},
    "deit_crop_only": {"image_processor_type": "DeiTImageProcessor", "do_resize": False, "crop_size": 64},
    "deit_lanczos": {"image_processor_type": "DeiTImageProcessor", "resample": 1, "size": 41, "crop_size": 40},
}


def processor_of(name, config):
    from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    return (DeiTImageProcessorPil if name.startswith("deit") else ViTImageProcessorPil).from_dict(config)


def table_of(processor):
    """The reference's own arithmetic on every byte of every channel."""
    image = numpy.broadcast_to(numpy.arange(256, dtype=numpy.uint8), (3, 1, 256))
    if processor.do_rescale:
        image = processor.rescale(image, processor.rescale_factor)
    if processor.do_normalize:
        image = processor.normalize(image, processor.image_mean, processor.image_std)
    return image.astype(numpy.float32)


def write_configs():
    lines = []
    for name, config in CONFIGS.items():
        (PREPROCESS / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")
        processor = processor_of(name, config)
        table = digest(table_of(processor))
        for seed, (width, height) in enumerate(((97, 61), (61, 97), (50, 50), (131, 130), (300, 12))):
            image = Image.fromarray(noise(seed, width, height))
            values = processor(image, return_tensors="np")["pixel_values"][0].astype(numpy.float32)
            lines.append(f"{name} {seed} {width} {height} {values.shape[2]} {values.shape[1]} {digest(values)} {table}")
    (PREPROCESS / "configs.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    (IMAGES / "expected").mkdir(parents=True, exist_ok=True)
    PREPROCESS.mkdir(parents=True, exist_ok=True)
    write_images()
    write_resizes()
    write_configs()
