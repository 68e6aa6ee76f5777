"""``python -m samples --out DIR --count N --seed S``: write sample files with their truth beside them."""

from __future__ import annotations

import argparse
import json
import random
from itertools import cycle, islice, product
from pathlib import Path

import samples
from samples import fonts
from samples.degrade import DEGRADATIONS


def main() -> None:
    """Write N samples, going through all types, degradations and formats."""
    parser = argparse.ArgumentParser(prog="python -m samples", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to (made if missing)")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--type", choices=sorted(samples.LAYOUTS), help="one type only")
    parser.add_argument("--degradation", choices=DEGRADATIONS, help="one degradation only")
    parser.add_argument("--format", choices=samples.FORMATS, help="one format only")
    arguments = parser.parse_args()
    fonts.ensure()
    arguments.out.mkdir(parents=True, exist_ok=True)
    combinations = [
        (kind, degradation, form)
        for form, degradation, kind in product(samples.FORMATS, DEGRADATIONS, samples.LAYOUTS)
        if (form != "digital_pdf" or degradation == "clean")
        and arguments.type in (None, kind)
        and arguments.degradation in (None, degradation)
        and arguments.format in (None, form)
    ]
    random.Random(1).shuffle(combinations)  # noqa: S311 - so that a few samples already show several kinds
    if not combinations:
        parser.error("a digital PDF is always clean")
    for index, (kind, degradation, form) in enumerate(islice(cycle(combinations), arguments.count)):
        seed = arguments.seed + index
        sample = samples.generate(kind, seed=seed, degradation=degradation, format=form)
        stem = f"{kind}-{seed:05}-{sample.truth['layout']}-{degradation}-{form}"
        (arguments.out / f"{stem}.{samples.EXTENSIONS[form]}").write_bytes(sample.bytes)
        (arguments.out / f"{stem}.json").write_text(json.dumps(sample.truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print(stem)


if __name__ == "__main__":
    main()
