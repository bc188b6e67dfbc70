#!/usr/bin/env python3
"""Makes the golden data of test/model/test_golden.c: what transformers answers for small models with random weights.

    python3 -m venv venv && venv/bin/pip install torch==2.15 transformers==5.23.0 safetensors pillow==13.0.0 numpy
    venv/bin/python scripts/golden_logits.py                 from the root of the tree; overwrites test/data/golden
    venv/bin/python scripts/golden_logits.py --large DIR [--binary build/stagecoach] IMAGE...
                                                             compares one model directory of any size, writes nothing

Everything is seeded, so a second run with the same versions changes nothing. Answers are fp32 logits (or pooled
embeddings), attention computed eagerly, images prepared by the Pillow-backed processors.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import safetensors.torch
import torch
import transformers
from PIL import Image
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

GOLDEN = pathlib.Path("test/data/golden")
IMAGES = GOLDEN / "images"

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 24,
    "patch_size": 8,
    "num_labels": 7,
}

# name: (class, what differs from SMALL, options)
CASES = {
    "vit_ten_tokens": ("ViTForImageClassification", {}, {}),
    "vit_head_size_20": (
        "ViTForImageClassification",
        {"hidden_size": 40, "num_attention_heads": 2, "image_size": 32, "num_labels": 1, "hidden_act": "gelu_new"},
        {},
    ),
    "vit_head_size_80": (
        "ViTForImageClassification",
        {"hidden_size": 80, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 48},
        {"dtype": torch.float16},
    ),
    "vit_no_qkv_bias": ("ViTForImageClassification", {"qkv_bias": False, "num_labels": 2}, {"no_id2label": True}),
    "vit_thousand_labels": (
        "ViTForImageClassification",
        {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_labels": 1000},
        {},
    ),
    "vit_non_square": (
        "ViTForImageClassification",
        {"image_size": [24, 40], "hidden_act": "gelu_pytorch_tanh", "num_labels": 3},
        {},
    ),
    "vit_outliers": (
        "ViTForImageClassification",
        {"hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 3},
        {"outliers": True},
    ),
    "vit_relu_patch_5": (
        "ViTForImageClassification",
        {"image_size": 25, "patch_size": 5, "hidden_act": "relu", "layer_norm_eps": 1e-5},
        {},
    ),
    "vit_bf16": ("ViTForImageClassification", {"num_hidden_layers": 1}, {"dtype": torch.bfloat16}),
    "vit_sharded": ("ViTForImageClassification", {}, {"shard": "20KB"}),
    "vit_names_in_memory": ("ViTForImageClassification", {"num_hidden_layers": 1}, {"names": "memory"}),
    "vit_model": ("ViTModel", {}, {}),
    "vit_model_pooler_20": ("ViTModel", {"pooler_output_size": 20, "pooler_act": "relu"}, {}),
    "vit_model_no_pooler": ("ViTModel", {}, {"no_pooler": True}),
    "vit_model_of_classifier": ("ViTModel", {"num_hidden_layers": 1}, {"names": "classifier", "no_pooler": True}),
    "deit_classifier": ("DeiTForImageClassification", {}, {}),
    "deit_teacher": ("DeiTForImageClassificationWithTeacher", {}, {}),
    "deit_teacher_f16": (
        "DeiTForImageClassificationWithTeacher",
        {"image_size": 32, "num_hidden_layers": 1},
        {"dtype": torch.float16},
    ),
    "deit_model": ("DeiTModel", {}, {}),
}


def make_images():
    """Noise, something smooth as PNG, and the same as JPEG."""
    IMAGES.mkdir(parents=True)
    generator = numpy.random.default_rng(1)
    noise = generator.integers(0, 256, (45, 31, 3), dtype=numpy.uint8)
    Image.fromarray(noise).save(IMAGES / "noise.png")
    coarse = generator.integers(0, 256, (5, 7, 3), dtype=numpy.uint8)
    smooth = Image.fromarray(coarse).resize((84, 60), Image.Resampling.BICUBIC)
    smooth.save(IMAGES / "smooth.png")
    smooth.save(IMAGES / "smooth.jpg", quality=90)
    return sorted(IMAGES.iterdir())


def randomise(model, outliers):
    """Weights that keep signals alive and attention uneven; with outliers, the ranges that training leaves behind."""
    for name, parameter in model.named_parameters():
        scale = 1.3 / parameter[0].numel() ** 0.5 if parameter.dim() in (2, 4) else 0.3
        parameter.data.normal_(0, scale)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
            if outliers:
                parameter.data.abs_().mul_(3)
        if outliers and "position" in name:
            parameter.data[..., 5] += 8
            parameter.data[..., 17] -= 5


def processor_of(kind, config):
    side = config.image_size
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    if kind.startswith("DeiT"):
        size, crop = {"height": height + 4, "width": width + 4}, {"height": height, "width": width}
        return DeiTImageProcessorPil(size=size, crop_size=crop)
    return ViTImageProcessorPil(size={"height": height, "width": width})


def save_weights(model, folder, options):
    dtype, names = options.get("dtype"), options.get("names")
    if dtype:
        model.to(dtype)
    model.save_pretrained(folder, max_shard_size=options.get("shard", "1GB"))
    weights = folder / "model.safetensors"
    if names == "memory":
        safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
    if names == "classifier":
        tensors = safetensors.torch.load_file(weights)
        safetensors.torch.save_file({"vit." + k: v for k, v in tensors.items()}, weights)


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def answers(model, processor, images):
    result = {}
    for path in images:
        with torch.no_grad():
            output = model(**processor(images=Image.open(path), return_tensors="pt"))
        if "logits" in output:
            answer = output.logits
        else:
            answer = output.pooler_output if output.pooler_output is not None else output.last_hidden_state[:, 0]
        result[path.name] = [float(f"{value:.9g}") for value in answer[0].float().tolist()]
    return result


def make_case(name, kind, changes, options, images):
    torch.manual_seed(len(name) * 1000 + sum(map(ord, name)))
    folder = GOLDEN / name
    folder.mkdir()
    model_class = getattr(transformers, kind)
    config_class = transformers.DeiTConfig if kind.startswith("DeiT") else transformers.ViTConfig
    config = config_class(**{**SMALL, **changes})
    arguments = {"add_pooling_layer": False} if options.get("no_pooler") else {}
    model = model_class(config, **arguments).eval()
    randomise(model, options.get("outliers"))
    save_weights(model, folder, options)
    processor = processor_of(kind, config)
    processor.save_pretrained(folder)
    for path in folder.glob("*.json"):
        edit_json(path, lambda content: content.pop("transformers_version", None))
    if options.get("no_id2label"):
        edit_json(folder / "config.json", lambda content: [content.pop(k, None) for k in ("id2label", "label2id")])
    stored = {"dtype": torch.float32, "attn_implementation": "eager"}
    if options.get("names"):
        model.set_attn_implementation("eager")  # from_pretrained is not asked to understand the renamed tensors
        model.float()
    else:
        model = model_class.from_pretrained(folder, **stored, **arguments).eval()
    expected = answers(model, processor, images)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    spread = max(abs(a - b) for a, b in zip(expected["noise.png"], expected["smooth.png"]))
    print(f"{name}: {len(expected['noise.png'])} values, differ by {spread:.3f} between images", file=sys.stderr)


def make_all():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    images = make_images()
    for name, (kind, changes, options) in CASES.items():
        make_case(name, kind, changes, options, images)


def compare_large(folder, binary, images):
    content = json.loads((folder / "config.json").read_text())
    kind = content["architectures"][0]
    prepared = json.loads((folder / "preprocessor_config.json").read_text())
    processor_class = DeiTImageProcessorPil if "DeiT" in prepared["image_processor_type"] else ViTImageProcessorPil
    model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    expected = answers(model, processor_class.from_pretrained(folder), images)
    command = [binary, "classify", "--model", folder, "--json", "--logits", *images]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for path, line in zip(images, map(json.loads, lines), strict=True):
        difference = numpy.abs(numpy.array(line["logits"]) - numpy.array(expected[path.name])).max()
        print(f"{path}: largest difference {difference:.3g} of logits in {numpy.ptp(expected[path.name]):.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--binary", default="build/stagecoach")
    parser.add_argument("images", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if options.large:
        compare_large(options.large, options.binary, options.images)
    else:
        make_all()


if __name__ == "__main__":
    main()
