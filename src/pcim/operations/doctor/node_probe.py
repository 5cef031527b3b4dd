"""Collect facts about a node of a cluster and write them as JSON; `pcim doctor` judges them."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcim.runtime.atomic_file import whole_file
from pcim.runtime.locks import is_held

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENOUGH_S = 40.0


def look_around(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this machine sees of the `places`, of the folder of results, of GPUs, and how fast a classifier is explained."""
    os.chdir(asked["folder"])
    folder = Path(asked["answer"]).parent
    told: dict[str, Any] = {
        "host": socket.gethostname(),
        "unseen": {name: path for name, path in asked["places"].items() if not Path(path).exists()},
        "write": _cannot_write(folder),
        "is_lock_kept": is_held(folder / "lock"),
        "gpu": "",
        "torch": "",
    }
    if asked["gpus"] or asked["is_to_measure"]:
        try:
            told |= _with_torch(asked)
        except Exception as error:  # noqa: BLE001 - whatever is wrong is the answer
            told["fault"] = f"{type(error).__name__}: {error}"
    return told


def _cannot_write(folder: Path) -> str:
    try:
        with whole_file(folder / f"written-by-{socket.gethostname()}") as partial:
            partial.write_text("seen")
    except OSError as error:
        return str(error)
    return ""


def _with_torch(asked: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    seen: dict[str, Any] = {
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
    }
    if asked["is_to_measure"] and (seen["gpu"] or not asked["gpus"]):
        seen["seconds"] = _seconds_a_map(asked)
    return seen


def _seconds_a_map(asked: Mapping[str, Any]) -> dict[str, float]:
    """Explain the classifier's own test images, a batch by each method, as long as there is time; return method -> s a map."""
    from safetensors.numpy import load_file

    from pcim.attribution.explain import classifier_for, explain_each
    from pcim.classifiers.classifier import load_classifier, pick_device
    from pcim.classifiers.contract import load_contract
    from pcim.config.stages import AttributeSettings

    model, settings = Path(asked["model_yaml"]), AttributeSettings.model_validate(asked["attribute"])
    classifier = load_classifier(model, asked["trusted_packages"], pick_device(asked["gpus"]))
    raw = load_file(model.parent / load_contract(model).test.file)["images"]
    count = settings.batch_size
    images = classifier.normalise([raw[number % len(raw)] for number in range(count)])
    targets, keys = classifier(images).argmax(1).detach(), list(range(count))
    seconds: dict[str, float] = {}
    began = time.monotonic()
    for method in settings.methods:
        network = classifier_for(method, classifier)
        for _ in range(2):  # the first warms up
            start = time.monotonic()
            for _, explained in explain_each(network, method, images, targets, keys, settings):
                explained.channel_maps.cpu()
            seconds[method] = (time.monotonic() - start) / count
        if time.monotonic() - began > _ENOUGH_S:
            break
    return seconds


if __name__ == "__main__":
    question = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with whole_file(question["answer"]) as answer:
        answer.write_text(json.dumps(look_around(question)), encoding="utf-8")
