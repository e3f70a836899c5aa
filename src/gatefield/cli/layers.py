"""`gatefield diagnose` and `gatefield init`: what a checkpoint's layers do; weights that bring a layer to a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gatefield.cli.options import ShowArguments, ShowOptions, Whole, pairs
from gatefield.cli.terminal import answer, answer_with, console, table
from gatefield.running.saving import check_output

if TYPE_CHECKING:
    from gatefield.layers.diagnosis import Diagnosis
    from gatefield.layers.initialisation import Initialisation


def diagnose(
    checkpoint: Annotated[Path, Parameter(help="A .safetensors, .npz, .pt, .pth, .bin or .ckpt file.")],
    /,
    *,
    layer: Annotated[str | None, Parameter(help="Which recurrent layer, where there are several.")] = None,
    inputs: Annotated[
        Path | None, Parameter(help="The layer's inputs, .npy: (steps, inputs) or (sequences, steps, inputs).")
    ] = None,
    exponents: Annotated[Whole, Parameter(help="Leading Lyapunov exponents.")] = 10,
    slow_radius: Annotated[float, Parameter(help="Modes with |λ − 1| below it count as slow.")] = 0.05,
    theory: Annotated[
        bool, Parameter(help="Also the theory of random networks of the same statistics.", negative="--no-theory")
    ] = True,
    seed: Annotated[Whole, Parameter(help="Seed of everything drawn.")] = 0,
    show: ShowArguments = ShowOptions(),
) -> None:
    """What a recurrent layer does: whether it forgets, keeps or explodes, beside a random one of its statistics."""
    from gatefield.layers.checkpoints import chosen_layer, read_layers
    from gatefield.layers.diagnosis import diagnose_layer

    check_output(show.output)
    chosen = chosen_layer(read_layers(checkpoint), layer)
    found = diagnose_layer(
        chosen, inputs=_read_inputs(inputs), exponents=exponents, slow_radius=slow_radius, theory=theory, seed=seed
    )
    answer_with(show, found, _print_diagnosis, "layers.plot_diagnosis")


def init(
    cell: Annotated[
        str, Parameter(help="lstm, lstm-coupled, gru-reset-after (PyTorch, Flax, Keras), gru, mgu or vanilla.")
    ],
    /,
    *,
    hidden: Annotated[Whole, Parameter(help="Units.")],
    inputs: Annotated[Whole, Parameter(help="Inputs; 0: the layer is left alone.")] = 0,
    target: Annotated[str, Parameter(help="edge, spectral-radius=X, timescale=STEPS or slow-modes=SHARE.")] = "edge",
    data: Annotated[
        Path | None,
        Parameter(
            help="The inputs, .npy: (steps, inputs) or (sequences, steps, inputs). By default white, of variance 1."
        ),
    ] = None,
    gain: Annotated[list[str] | None, Parameter(help="NAME=X: a gain to hold; repeat for others.")] = None,
    bias: Annotated[list[str] | None, Parameter(help="NAME=X: mean of a bias, such as forget=1. Left out: 0.")] = None,
    input_gain: Annotated[float, Parameter(help="Input weights have variance X²/inputs.")] = 1.0,
    seed: Annotated[Whole, Parameter(help="Seed of everything drawn.")] = 0,
    json: Annotated[bool, Parameter(help="Print one JSON object instead of text.")] = False,
) -> None:
    """Gains, standard deviations of weights and biases that bring a layer to a target, tried on one of its size."""
    from gatefield.cells.builtin import named_cell
    from gatefield.layers.initialisation import blank_layer, initialize_layer, white_inputs

    layer = blank_layer(named_cell(cell), hidden, inputs)
    given = _read_inputs(data, "--data")
    if given is None and inputs:
        given = white_inputs(inputs, seed=seed)
    held, biases = pairs("--gain", gain), pairs("--bias", bias)
    made = initialize_layer(
        layer, target=_target(target), inputs=given, gain=held, bias=biases, input_gain=input_gain, seed=seed
    )
    told = "none" if given is None else str(data) if data else "white, variance 1"
    answer(
        ShowOptions(json=json), json=made.as_json, text=lambda: _print_initialisation(made, told),
        messages=made.messages,
    )  # fmt: skip


def _target(text: str) -> Any:
    name, equals, _ = text.partition("=")
    if not equals:
        return text
    return {name.replace("-", "_"): pairs("--target", [text])[name]}


def _read_inputs(path: Path | None, option: str = "--inputs") -> Any:
    from gatefield.running.reading import read_npy

    return None if path is None else read_npy(option, path)


def _print_diagnosis(found: Diagnosis) -> None:
    from gatefield.numerics.estimates import Estimate

    out = console()
    out.print(f"{found.layer.title()}: [bold]{found.verdict.kind}[/bold]")
    header = ("", "gain", "input gain", "bias", "current", "spikes", "gate", "closed", "open")
    out.print(table(header, [(name, *_row(s)) for name, s in found.statistics.items()]))
    theory = found.theory
    beside = ("", "", "")
    if theory is not None:
        slow = found.spectra[-1].predicted_slow
        beside = (str(Estimate(theory.value, theory.error)), str(found.theory_radius), str(slow))
    rows = [
        ("largest exponent (per step)", str(found.exponent.estimate), beside[0]),
        ("spectral radius", _mean([s.radius for s in found.spectra]), beside[1]),
        ("share of slow modes", _mean([s.slow for s in found.spectra]), beside[2]),
        ("slowest eigenmode (steps)", f"{found.spectra[-1].time_constants[0]:.4g}", ""),
        ("eigenvalues outside the support", str(len(found.outliers)), "0"),
    ]
    out.print(
        table(("", "layer", "random network (theory)"), rows if theory is not None else [(*r[:2], "") for r in rows])
    )
    out.print(str(found.verdict), soft_wrap=True)


def _print_initialisation(made: Initialisation, inputs: str) -> None:
    out = console()
    layer = made.layer
    shape = f"{layer.width} inputs ({inputs}), {layer.size} units" if layer.width else f"{layer.size} units, no inputs"
    out.print(f"{layer.name}: {shape}, target {made.target}")
    rows = []
    for name in layer.names:
        numbers = [values.get(name) for values in (made.gain, made.weight_std, made.input_std, made.bias)]
        rows.append((name, *("" if v is None else f"{v + 0.0:.4g}" for v in numbers)))
    out.print(table(("", "gain", "std of recurrent weights", "std of input weights", "bias"), rows))
    out.print(
        f"Achieved at this size: {made.target.quantity} {made.achieved}. {made.compared}".rstrip(), soft_wrap=True
    )


def _mean(values: list[float]) -> str:
    """The values over the steps looked at: one, or from … to."""
    low, high = min(values), max(values)
    return f"{low:.4g}" if high - low < 5e-4 * max(abs(high), 1e-300) else f"{low:.4g} … {high:.4g}"


def _row(s: Any) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    bias = f"{s.bias_mean:.2g} ± {s.bias_std:.2g}"
    return (
        f"{s.gain:.3f}",
        f"{s.input_gain:.3f}",
        bias,
        f"{s.current_std:.3f}",
        str(s.spikes),
        *map(share, (s.gate, s.closed, s.opened)),
    )
