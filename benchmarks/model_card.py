"""Writes the card of a model that ships: how it was made, its training log, its results and its SHA-256.

    python -m benchmarks.model_card NAME RUN EVALUATION

RUN is the folder of its training, EVALUATION the folder that ``soundalike evaluate`` wrote for the very file that
ships. Everything but the words between the tables is read from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

import soundalike
from soundalike.model.shipped import shipped

DOCS = Path(__file__).parents[1] / "docs"
_TITLES = {
    "esc10": "ESC-10, 5 folds",
    "fsdd": "spoken digits, by unseen speaker",
    "folder": "ten instruments",
    "speech-commands": "words, unseen speakers",
}


def results_table(evaluation: dict[str, Any], probe: str) -> list[str]:
    """A Markdown table: a row for each representation, a column for each task and one for their mean."""
    tasks = [task["task"] for task in evaluation["tasks"]]
    titles = [_TITLES.get(name, name) for name in tasks]
    lines = [f"| {probe} | {' | '.join(titles)} | mean |", "|---" * (len(tasks) + 2) + "|"]
    for name in evaluation["representations"]:
        scores = [task["scores"][name]["probes"][probe] for task in evaluation["tasks"]]
        cells = [
            f"{100 * score['mean']:.1f}" + (f" ± {100 * score['std']:.1f}" if len(score["folds"]) > 1 else "")
            for score in scores
        ]
        mean = sum(score["mean"] for score in scores) / len(scores)
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * mean:.1f} |")
    return lines


def draw_log(log: pd.DataFrame, file: Path) -> None:
    """The loss and how often a moment finds its partner, against the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    for place, (column, title) in enumerate((("loss", "loss"), ("top1", "partner found first")), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(log["step"], log[column], linewidth=0.8)
        axes.set_xlabel("step")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Writes ``docs/models/NAME.md``, its log as CSV and its picture."""
    parser = argparse.ArgumentParser(description="Writes the card of a model that ships.")
    parser.add_argument("name", help="of the model, as in soundalike.model.shipped")
    parser.add_argument("run", type=Path, help="folder of its training")
    parser.add_argument("evaluation", type=Path, help="what soundalike evaluate wrote")
    parser.add_argument("--machine", required=True, help="what it was trained on, in words")
    parser.add_argument("--command", required=True, help="the command that trained it")
    options = parser.parse_args()

    entry = shipped(options.name)
    model = soundalike.load(entry.path)
    evaluation = json.loads((options.evaluation / "results.json").read_text())
    logs = [pd.read_csv(file) for file in sorted(options.run.glob("logs/sitting-*/metrics.csv"))]
    log = pd.concat(logs).dropna(subset=["loss"])[["step", "loss", "top1", "learning_rate"]]
    folder = DOCS / "models"
    folder.mkdir(exist_ok=True)
    log.round(5).to_csv(folder / f"{options.name}-training.csv", index=False)
    draw_log(log, DOCS / "images" / f"{options.name}-training.png")
    told = model.training
    training = [f"| {key} | {value} |" for key, value in told.items() if value is not None]
    text = [
        f"# Model card: `{options.name}`",
        "",
        f"{entry.summary[0].upper()}{entry.summary[1:]}. `soundalike.load()` gives it, offline.",
        "",
        "| | |",
        "|---|---|",
        f"| file | `soundalike/model/shipped/{entry.path.name}`, {entry.size / 1e6:.1f} MB, weights in 16 bits |",
        f"| SHA-256 | `{hashlib.sha256(entry.path.read_bytes()).hexdigest()}` |",
        f"| hears | {model.sample_rate:,} Hz, mono, sounds of any length |",
        f"| gives | {model.size:,} numbers |",
        f"| parameters | {sum(p.numel() for p in model.encoder.parameters()):,} |",
        "| trained on | synthetic sounds alone: no recording was heard or stored |",
        f"| machine | {options.machine} |",
        "| licence | that of the package |",
        "",
        "## Results",
        "",
        "Frozen embeddings of the file that ships; accuracy in %, mean ± standard deviation over folds "
        f"(`soundalike evaluate`, {evaluation['versions']['torch']} of PyTorch).",
        "",
        *results_table(evaluation, "linear"),
        "",
        *results_table(evaluation, "knn"),
        "",
        "## Training",
        "",
        "```sh",
        options.command,
        "```",
        "",
        "| what its header says | |",
        "|---|---|",
        *training,
        "",
        f"![Loss and accuracy over the training](../images/{options.name}-training.png)",
        "",
        f"The log, every tenth step: [{options.name}-training.csv]({options.name}-training.csv).",
        "",
        "## Recipe",
        "",
        "```yaml",
        model.recipe.to_yaml().strip(),
        "```",
        "",
    ]
    (folder / f"{options.name}.md").write_text("\n".join(text), encoding="utf-8")
    print(folder / f"{options.name}.md")


if __name__ == "__main__":
    main()
