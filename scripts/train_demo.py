#!/usr/bin/env python3
"""Train the small vision transformer in demo/model and draw the pictures in demo/samples.

The model tells twelve drawn shapes apart. It is an ordinary Hugging Face ViT directory, small enough to live in the
repository, so that a newcomer sees a pipeline answer correctly without downloading anything. Everything is drawn here,
by Pillow, from seeds: no data set is fetched.

    python3 -m venv /tmp/venv && . /tmp/venv/bin/activate
    pip install torch transformers pillow numpy safetensors
    python scripts/train_demo.py                # train, write demo/model, measure it, draw demo/samples
    python scripts/train_demo.py --evaluate     # load demo/model, measure it on freshly drawn photo-sized files
    python scripts/train_demo.py --samples      # draw demo/samples again, and say how demo/model answers them

Training takes about 35 minutes on one idle core (AVX2) and two gigabytes of memory, measuring about six minutes. With
the same versions of torch, transformers, Pillow and numpy on the same kind of processor, the files come out the same.

What is drawn: one shape of random size, place, rotation, proportions, colours, outline and shadow, over a random
background. Training pictures are drawn at about 3.5 times the model's resolution and reduced the way the image
processor does it; held-out pictures are drawn at ordinary photo sizes, written as JPEG or PNG, read back as a user
would read them, and prepared by the model's own preprocessor_config.json. Three disjoint families of seeds keep
training, measuring and samples apart.
"""
import argparse
import colorsys
import io
import json
import math
import os
import sys
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LABELS = ["arrow", "circle", "crescent", "cross", "flower", "heart", "house", "ring", "spiral", "square", "star",
          "triangle"]
UPRIGHT = {"heart", "house"}  # leaned over a little; the others turn freely
RESOLUTION = 72
PATCH = 12
PHOTO_SIZES = [(640, 480), (800, 600), (1024, 768), (1280, 960), (480, 640), (768, 1024), (1280, 720), (600, 600)]
TRAINING_SEED, HELD_OUT_SEED, SAMPLE_SEED = 11, 22, 33


# ---------------------------------------------------------------------------------------------------------- drawing

def circle_points(radius=1.0, count=96):
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def star_points(random):
    inner = random.uniform(0.38, 0.48)
    angle = np.arange(10) * math.pi / 5 - math.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def triangle_points(random):
    angle = np.arange(3) * 2 * math.pi / 3 - math.pi / 2 + random.uniform(-0.15, 0.15, 3)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def heart_points(random):
    angle = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    height = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return np.stack([16 * np.sin(angle) ** 3, -height], 1)


def crescent_points(random):
    """The unit disc less a disc of radius `cut`, `shift` to the right of it; their arcs meet at (meet, +-height)."""
    shift, cut = random.uniform(0.38, 0.5), random.uniform(0.78, 0.88)
    meet = (1 - cut * cut + shift * shift) / (2 * shift)
    height = math.sqrt(1 - meet * meet)
    outer_start, inner_start = math.atan2(height, meet), math.atan2(height, meet - shift)
    outer = np.linspace(outer_start, 2 * math.pi - outer_start, 64)
    inner = np.linspace(2 * math.pi - inner_start, inner_start, 64)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1),
                           np.stack([shift + cut * np.cos(inner), cut * np.sin(inner)], 1)])


def cross_points(random):
    arm = random.uniform(0.26, 0.38)
    return np.array([(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm), (arm, 1), (-arm, 1),
                     (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)])


def arrow_points(random):
    shaft, wing, neck = random.uniform(0.15, 0.24), random.uniform(0.55, 0.75), random.uniform(-0.05, 0.2)
    return np.array([(-1, -shaft), (neck, -shaft), (neck, -wing), (1, 0), (neck, wing), (neck, shaft), (-1, shaft)])


def spiral_points(random):
    turns, thickness = random.uniform(1.9, 2.5), random.uniform(0.4, 0.52)
    angle = np.linspace(0.15 * math.pi, 2 * math.pi * turns, 160)
    pitch = 1 / turns
    middle = angle / (2 * math.pi * turns)
    half = np.minimum(middle, thickness * pitch / 2)
    ray = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.concatenate([ray * (middle + half)[:, None], (ray * (middle - half)[:, None])[::-1]])


def flower_points(random):
    petals, depth = int(random.integers(5, 7)), random.uniform(0.26, 0.34)
    angle = np.linspace(0, 2 * math.pi, 160, endpoint=False)
    radius = 1 - depth + depth * np.cos(petals * angle)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def house_points(random):
    wall, eaves = random.uniform(0.62, 0.75), random.uniform(-0.3, -0.1)
    return np.array([(0, -1), (1, eaves), (wall, eaves), (wall, 0.85), (-wall, 0.85), (-wall, eaves), (-1, eaves)])


def shape_points(label, random):
    """A shape's outline, and a list of (outline, "hole" or "trim"): to cut out, or to paint in the trim colour."""
    if label == "circle":
        return circle_points(), []
    if label == "ring":
        return circle_points(), [(circle_points(random.uniform(0.5, 0.66)), "hole")]
    if label == "square":
        return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.8, []
    if label == "flower":
        return flower_points(random), [(circle_points(random.uniform(0.2, 0.28)), "trim")]
    if label == "house":
        door, side = random.uniform(0.14, 0.22), random.uniform(-0.25, 0.25)
        outline = np.array([(side - door, 0.85), (side - door, 0.2), (side + door, 0.2), (side + door, 0.85)])
        return house_points(random), [(outline, "trim")]
    makers = {"star": star_points, "triangle": triangle_points, "heart": heart_points, "crescent": crescent_points,
              "cross": cross_points, "arrow": arrow_points, "spiral": spiral_points}
    return makers[label](random), []


def place(label, random, width, height):
    """The shape's outlines in pixels, inside the frame; proportions, mirror, rotation, size and place are random."""
    points, details = shape_points(label, random)
    centre = (points.max(0) + points.min(0)) / 2
    reach = np.abs(points - centre).max()
    turn = math.radians(random.uniform(-35, 35) if label in UPRIGHT else random.uniform(-180, 180))
    stretch = math.exp(random.uniform(-0.13, 0.13))
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    matrix = np.diag([stretch * random.choice([-1, 1]), 1 / stretch]) @ matrix
    turned = (points - centre) / reach @ matrix
    radius = float(random.uniform(0.25, 0.46) * min(width, height) / max(1.0, np.abs(turned).max()))
    low, high = turned.min(0) * radius, turned.max(0) * radius
    margin = 0.02 * min(width, height)
    offset = np.array([random.uniform(margin - low[0], max(margin - low[0], width - margin - high[0])),
                       random.uniform(margin - low[1], max(margin - low[1], height - margin - high[1]))])
    moved = [((outline - centre) / reach @ matrix * radius + offset, kind) for outline, kind in details]
    return turned * radius + offset, moved, radius


def colour(random, grey):
    if grey:
        return np.full(3, random.uniform(10, 250))
    return 255 * np.array(colorsys.hsv_to_rgb(random.uniform(), random.uniform(0.05, 0.95), random.uniform(0.15, 1.0)))


def palette(random, grey):
    """Two background colours, two fill colours far from both, and a trim colour far from the fill."""
    def near(one, distance):
        return np.clip(one + random.uniform(-distance, distance, 3 if not grey else 1), 0, 255)

    def far(one, others, distance):
        return all(np.linalg.norm(one - other) >= distance for other in others)

    while True:
        back = colour(random, grey)
        backs = [back, near(back, 60)]
        fill = colour(random, grey)
        fills = [fill, near(fill, 35)]
        trim = colour(random, grey)
        if far(fills[0], backs, 130) and far(fills[1], backs, 110) and far(trim, fills, 110):
            return backs, fills, trim


def smooth_noise(random, width, height, cells):
    """Values in [0, 1] that vary over about `cells` cells along the longer side."""
    scale = cells / max(width, height)
    grid = random.uniform(0, 255, (max(2, round(height * scale)), max(2, round(width * scale)))).astype(np.uint8)
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 255


def field(kind, random, width, height):
    """How far each pixel is from the first colour to the second, in [0, 1]: float32 (height, width)."""
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    angle = random.uniform(0, 2 * math.pi)
    along = across * np.float32(math.cos(angle)) + down * np.float32(math.sin(angle))
    if kind == "gradient":
        return np.clip(along / 2 + 0.5, 0, 1)
    if kind == "radial":
        away = np.hypot(across - np.float32(random.uniform(-0.8, 0.8)), down - np.float32(random.uniform(-0.8, 0.8)))
        return np.clip(away / 2, 0, 1)
    if kind == "stripes":
        wave = np.sin(along * np.float32(random.uniform(6, 28)) + np.float32(random.uniform(0, 6)))
        return np.clip(wave * np.float32(random.uniform(1, 6)) / 2 + 0.5, 0, 1)
    if kind == "checks":
        count, other = np.float32(random.uniform(5, 16)), down * np.float32(math.cos(angle))
        other = other - across * np.float32(math.sin(angle))
        return np.clip(np.sin(along * count) * np.sin(other * count) * 4 + 0.5, 0, 1)
    if kind == "blobs":
        return np.clip((smooth_noise(random, width, height, random.uniform(3, 8)) - 0.5) * 2.5 + 0.5, 0, 1)
    if kind == "noise":
        cells = random.uniform(8, 24)
        return (smooth_noise(random, width, height, cells) + smooth_noise(random, width, height, 2 * cells)) / 2
    return np.zeros((height, width), np.float32)  # flat


def paint(colours, amount):
    first, second = (np.asarray(one, np.float32) for one in colours)
    return Image.fromarray((first + amount[:, :, None] * (second - first)).astype(np.uint8))


def mask(outline, width, height, smoothness):
    """An anti-aliased mask of a polygon, drawn `smoothness` times larger and averaged down."""
    image = Image.new("L", (width * smoothness, height * smoothness))
    ImageDraw.Draw(image).polygon([tuple(point) for point in (outline * smoothness).tolist()], fill=255)
    return image.reduce(smoothness) if smoothness > 1 else image


def edge_mask(outline, thickness, width, height, smoothness):
    image = Image.new("L", (width * smoothness, height * smoothness))
    closed = [tuple(point) for point in (np.concatenate([outline, outline[:2]]) * smoothness).tolist()]
    ImageDraw.Draw(image).line(closed, fill=255, width=max(1, round(thickness * smoothness)), joint="curve")
    return image.reduce(smoothness) if smoothness > 1 else image


def draw(label, random, width, height, smoothness, noisy):
    """One picture, RGB, width x height pixels. `noisy` adds what a sensor adds (and what a PNG could not compress)."""
    grey = random.uniform() < 0.06
    backs, fills, trim = palette(random, grey)
    kinds = ["flat", "gradient", "radial", "stripes", "checks", "blobs", "noise"]
    picture = paint(backs, field(random.choice(kinds), random, width, height))
    outline, details, radius = place(label, random, width, height)
    shape = mask(outline, width, height, smoothness)
    for hole, kind in details:
        if kind == "hole":
            shape.paste(0, (0, 0), mask(hole, width, height, smoothness))
    if random.uniform() < 0.3:
        shift = (radius * random.uniform(-0.15, 0.15, 2)).round().astype(int).tolist()
        shadow = Image.new("L", (width, height))
        shadow.paste(shape.point(lambda level: level * 2 // 5), tuple(shift))
        picture.paste((0, 0, 0), (0, 0), shadow.filter(ImageFilter.BoxBlur(radius * 0.08)))
    picture.paste(paint(fills, field(random.choice(["flat", "gradient", "radial", "stripes"]), random, width, height)),
                  (0, 0), shape)
    ink = tuple(int(level) for level in trim)
    for detail, kind in details:
        if kind == "trim":
            picture.paste(ink, (0, 0), mask(detail, width, height, smoothness))
    if label != "spiral" and random.uniform() < 0.3:
        thickness = radius * random.uniform(0.03, 0.08)
        picture.paste(ink, (0, 0), edge_mask(outline, thickness, width, height, smoothness))
    if random.uniform() < 0.15:
        picture = picture.filter(ImageFilter.BoxBlur(float(min(width, height) * random.uniform(0.002, 0.01))))
    if noisy:
        grain = random.standard_normal((height, width, 1 if grey else 3), np.float32) * np.float32(random.uniform(0, 9))
        picture = Image.fromarray(np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8))
    return picture


# --------------------------------------------------------------------------------------------------------- pictures

def training_picture(index):
    """Picture `index` of the training set at the model's resolution: drawn larger, sometimes a JPEG, then squashed."""
    random = np.random.default_rng([TRAINING_SEED, index])
    width, height = PHOTO_SIZES[random.integers(len(PHOTO_SIZES))]
    scale = 3.5 * RESOLUTION / max(width, height)
    picture = draw(LABELS[index % len(LABELS)], random, round(width * scale), round(height * scale), 1,
                   random.uniform() < 0.5)
    if random.uniform() < 0.3:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(random.integers(60, 96)))
        picture = Image.open(stream)
    return np.asarray(picture.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR))


def training_set(count, cache):
    if cache and os.path.exists(cache):
        return np.load(cache)[:count]
    pictures = np.empty((count, RESOLUTION, RESOLUTION, 3), np.uint8)
    start = time.monotonic()
    for index in range(count):
        pictures[index] = training_picture(index)
        if (index + 1) % 5000 == 0:
            print(f"drawn {index + 1} of {count}, {time.monotonic() - start:.0f} s", flush=True)
    if cache:
        np.save(cache, pictures)
    return pictures


def write_held_out(folder, index):
    """Held-out picture `index` as a file of ordinary size; returns (path, class)."""
    random = np.random.default_rng([HELD_OUT_SEED, index])
    width, height = PHOTO_SIZES[random.integers(len(PHOTO_SIZES))]
    jpeg = index // len(LABELS) % 2 == 0
    label = index % len(LABELS)
    picture = draw(LABELS[label], random, width, height, 2, jpeg)
    path = os.path.join(folder, f"{index:05d}." + ("jpg" if jpeg else "png"))
    if jpeg:
        picture.save(path, quality=int(random.integers(85, 93)))
    else:
        picture.save(path, compress_level=1)
    return path, label


# Of the samples that are JPEG files, in the order drawn: some say by EXIF how they are to be turned, one is
# progressive, one has a single channel. The pixels are stored turned the other way, as a camera held sideways does.
EXIF_ORIENTATION = {2: 6, 5: 3, 8: 8, 11: 6, 14: 2, 17: 5}
UNDO_ORIENTATION = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 5: Image.Transpose.TRANSPOSE,
                    6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
PROGRESSIVE_SAMPLE, GREY_SAMPLE = 3, 4
SAMPLE_JPEG_SIZES = [(640, 480), (480, 640), (640, 480), (800, 600), (640, 480), (600, 600)]
SAMPLE_PNG_SIZES = [(320, 240), (400, 300), (300, 400), (480, 360), (640, 480), (360, 360)]


def save_sample_jpeg(picture, path, turn, quality):
    options = {"quality": quality}
    if turn in EXIF_ORIENTATION:
        orientation = EXIF_ORIENTATION[turn]
        picture = picture.transpose(UNDO_ORIENTATION[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if turn == PROGRESSIVE_SAMPLE:
        options["progressive"] = True
    if turn == GREY_SAMPLE:
        picture = picture.convert("L")
    picture.save(path, **options)


def write_samples(folder, count):
    """The first `count` pictures of the sample seed, whatever a model may think of them."""
    os.makedirs(folder, exist_ok=True)
    rows, jpegs = [], 0
    for index in range(count):
        random = np.random.default_rng([SAMPLE_SEED, index])
        label, number = LABELS[index % len(LABELS)], index // len(LABELS)
        if (index + number) % 2 == 0:
            name = f"{label}-{number:02d}.jpg"
            width, height = SAMPLE_JPEG_SIZES[jpegs % len(SAMPLE_JPEG_SIZES)]
            picture = draw(label, random, width, height, 2, True)
            save_sample_jpeg(picture, os.path.join(folder, name), jpegs, int(random.integers(85, 93)))
            jpegs += 1
        else:
            name = f"{label}-{number:02d}.png"
            width, height = SAMPLE_PNG_SIZES[(index - jpegs) % len(SAMPLE_PNG_SIZES)]
            draw(label, random, width, height, 2, False).save(os.path.join(folder, name), optimize=True)
        rows.append(f"{name}\t{label}\n")
    with open(os.path.join(folder, "labels.tsv"), "w", encoding="utf-8") as file:
        file.writelines(sorted(rows))


# --------------------------------------------------------------------------------------------------------- training

def new_model():
    config = ViTConfig(hidden_size=128, num_hidden_layers=8, num_attention_heads=4, intermediate_size=256,
                       image_size=RESOLUTION, patch_size=PATCH, hidden_dropout_prob=0.0,
                       attention_probs_dropout_prob=0.0, id2label=dict(enumerate(LABELS)),
                       label2id={label: index for index, label in enumerate(LABELS)})
    return ViTForImageClassification(config)


def augment(pictures, generator):
    """uint8 (batch, height, width, 3) to normalised float (batch, 3, height, width); every change keeps the label."""
    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(shape, generator=generator)

    batch = len(pictures)
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    order = torch.rand(batch, 3, generator=generator).argsort(1)  # which channel is red, green, blue
    values = torch.gather(values, 1, order[:, :, None, None].expand_as(values))
    change = (torch.rand(batch, generator=generator) < 0.6).float()
    turn, scale = change * uniform(-0.2, 0.2, batch), torch.exp(change * uniform(-0.15, 0.15, batch))
    mirror = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    shift = change[:, None] * uniform(-0.08, 0.08, batch, 2)
    affine = torch.stack([torch.stack([mirror * scale * turn.cos(), -scale * turn.sin(), shift[:, 0]], 1),
                          torch.stack([mirror * scale * turn.sin(), scale * turn.cos(), shift[:, 1]], 1)], 1)
    grid = functional.affine_grid(affine, values.shape, align_corners=False)
    values = functional.grid_sample(values, grid, padding_mode="reflection", align_corners=False)
    contrast = 1 + change * uniform(-0.25, 0.25, batch)
    brightness = change * uniform(-0.2, 0.2, batch)
    sign = torch.where(torch.rand(batch, generator=generator) < 0.2, -1.0, 1.0)  # a negative
    values = values * (sign * contrast)[:, None, None, None] + brightness[:, None, None, None]
    return values.clamp_(-1, 1)


def orthogonalize(matrices):
    """Newton-Schulz steps towards the nearest orthogonal matrix (Jordan et al., Muon, 2024); (many, rows, columns)."""
    tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.transpose(1, 2) if tall else matrices
    result = result / (result.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = result @ result.transpose(1, 2)
        result = 3.4445 * result + (-4.7750 * square + 2.0315 * square @ square) @ result
    return result.transpose(1, 2) if tall else result


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal, for the matrices inside the blocks; all else is left to AdamW."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for parameter in group["params"]:
                shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                self.step_alike(group, shape, parameters)

    def step_alike(self, group, shape, parameters):
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            updates.append(parameter.grad.lerp(state["momentum"], group["momentum"]))
        rate = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
        for parameter, update in zip(parameters, orthogonalize(torch.stack(updates))):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def new_optimizers(model, options):
    blocks, matrices, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "classifier" not in name:
            blocks.append(parameter)
        elif parameter.ndim > 1 and "position" not in name and "cls_token" not in name:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    if options.adamw_only:
        groups[0]["params"] = matrices + blocks
        return [torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)]
    return [torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True), Muon(blocks, options.muon_rate)]


def train(options):
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    pictures = training_set(options.pictures, options.cache)
    classes = torch.arange(len(pictures)) % len(LABELS)
    model = new_model().train()
    optimizers = new_optimizers(model, options)
    steps = options.seen // options.batch
    warm_up = max(1, steps // 20)

    def rate(step):
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, rate) for optimizer in optimizers]
    start, order, right, losses = time.monotonic(), torch.empty(0, dtype=torch.long), 0, 0.0
    for step in range(steps):
        if len(order) < options.batch:
            order = torch.randperm(len(pictures), generator=generator)
        chosen, order = order[:options.batch], order[options.batch:]
        logits = model(pixel_values=augment(pictures[chosen.numpy()], generator)).logits
        loss = functional.cross_entropy(logits, classes[chosen], label_smoothing=0.05)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        right, losses = right + (logits.argmax(1) == classes[chosen]).sum().item(), losses + loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} of {steps}: loss {losses / 50:.3f}, training accuracy "
                  f"{100 * right / (50 * options.batch):.1f} %, {time.monotonic() - start:.0f} s", flush=True)
            right, losses = 0, 0.0
    return model.eval()


# -------------------------------------------------------------------------------------------------------- the model

def save(model, folder):
    os.makedirs(folder, exist_ok=True)
    model.save_pretrained(folder)
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)  # it is written for its owner alone
    preparation = {"do_normalize": True, "do_rescale": True, "do_resize": True,
                   "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor",
                   "image_std": [0.5, 0.5, 0.5], "resample": int(Image.Resampling.BILINEAR),
                   "rescale_factor": 1 / 255, "size": {"height": RESOLUTION, "width": RESOLUTION}}
    with open(os.path.join(folder, "preprocessor_config.json"), "w", encoding="utf-8") as file:
        json.dump(preparation, file, indent=2)
        file.write("\n")


def load(folder):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return ViTForImageClassification.from_pretrained(folder).eval(), processor


def classify(model, processor, paths):
    """The best class of every file: opened, turned as EXIF says, and prepared as the model's own configuration says."""
    best = []
    for first in range(0, len(paths), 32):
        pictures = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths[first:first + 32]]
        with torch.inference_mode():
            logits = model(**processor(pictures, return_tensors="pt")).logits
        best += logits.argmax(1).tolist()
    return best


def evaluate(folder, count):
    """Percent right on `count` fresh files of ordinary size; prints what was mistaken for what."""
    torch.set_num_threads(1)
    model, processor = load(folder)
    right, mistakes = 0, {}
    with tempfile.TemporaryDirectory() as scratch:
        for first in range(0, count, 96):
            files = [write_held_out(scratch, index) for index in range(first, min(count, first + 96))]
            for (path, label), best in zip(files, classify(model, processor, [path for path, _ in files])):
                right += best == label
                if best != label:
                    pair = f"{LABELS[label]} taken for {LABELS[best]}"
                    mistakes[pair] = mistakes.get(pair, 0) + 1
                os.remove(path)
            print(f"held out: {right} of {min(count, first + 96)} right", end="\r", file=sys.stderr, flush=True)
    for pair, times in sorted(mistakes.items(), key=lambda item: -item[1]):
        print(f"  {times:4d}  {pair}")
    print(f"held-out accuracy: {right} of {count} files right, {100 * right / count:.2f} %", flush=True)
    return right


def answer_samples(model_folder, folder):
    model, processor = load(model_folder)
    with open(os.path.join(folder, "labels.tsv"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    answers = classify(model, processor, [os.path.join(folder, name) for name, _ in rows])
    wrong = [f"{name} taken for {LABELS[best]}" for (name, label), best in zip(rows, answers) if LABELS[best] != label]
    print("\n".join(["samples: %d of %d right" % (len(rows) - len(wrong), len(rows))] + wrong))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=os.path.join(ROOT, "demo", "model"), help="directory of the model")
    parser.add_argument("--sample-folder", default=os.path.join(ROOT, "demo", "samples"))
    parser.add_argument("--evaluate", action="store_true", help="only measure the saved model")
    parser.add_argument("--samples", action="store_true", help="only draw the samples and answer them")
    parser.add_argument("--held-out", type=int, default=2400, help="files to measure with")
    parser.add_argument("--sample-count", type=int, default=48)
    parser.add_argument("--pictures", type=int, default=36000, help="training pictures to draw")
    parser.add_argument("--seen", type=int, default=280000, help="pictures to train on, repeats counted")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest AdamW learning rate")
    parser.add_argument("--muon-rate", type=float, default=0.02, help="highest learning rate of the blocks' matrices")
    parser.add_argument("--adamw-only", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", help="keep the training pictures in this .npy file")
    return parser.parse_args()


def main():
    options = parse_arguments()
    if not options.evaluate and not options.samples:
        save(train(options), options.model)
    if not options.samples:
        evaluate(options.model, options.held_out)
    if not options.evaluate:
        write_samples(options.sample_folder, options.sample_count)
        answer_samples(options.model, options.sample_folder)


if __name__ == "__main__":
    main()
