"""Theory against one finite network: autocorrelation, spectral curve and eigenvalues, modes within discs."""

import matplotlib.pyplot as plt

import gatefield as gf
from gatefield.plots.spectra import plot_curve, plot_eigenvalues

ensemble = gf.Ensemble(gf.LSTM(), gain={"forget": 2.0, "input": 1.0, "output": 3.0, "cell": 3.0})

# N = infinity
field = gf.mean_field(ensemble, steps=400, samples=8000, seed=0)
print(f"mean field: {field.regime}, variance of h {field.variance['h']}")

# N = 1000
network = gf.Network(ensemble, size=1000, seed=0)
path = network.run(400)
snapshot = path.snapshot()
eigenvalues = network.eigenvalues(snapshot)
print(f"network: variance of h {path.variance['h']:.4f}")

# The same calls take either's neurons: an infinite network's, or this one's own.
print("modes per neuron within |λ| < r: r, mean field, from the network's neurons, counted")
for radius in (0.1, 0.3, 0.6):
    theory = gf.spectral_mass(ensemble, field.snapshot, center=0.0, radius=radius)
    own = gf.spectral_mass(ensemble, snapshot, center=0.0, radius=radius)
    counted = sum(abs(eigenvalues) < radius) / network.size
    print(f"  {radius}: {theory}, {own}, {counted:.4f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.8), layout="constrained")
plot_eigenvalues(left, eigenvalues, label="eigenvalues, N = 1000")
plot_curve(left, gf.spectral_curve(ensemble, field.snapshot), label="spectral curve, N = ∞")
own_curve = gf.spectral_curve(ensemble, snapshot)
plot_curve(left, own_curve, label="spectral curve, this network's neurons", color="C0", linestyle="--")
left.set(aspect="equal", xlabel="Re λ", ylabel="Im λ")

correlation = field.autocorrelation["h"]
right.plot(field.lags, correlation.value, color="#d62728", label="mean field")
right.plot(path.autocorrelation["h"], "k.", markersize=3, label="network, N = 1000")
right.set(xlabel="lag (steps)", ylabel="E[h(t) h(t + lag)]")
right.legend(frameon=False)
figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=9)
figure.savefig("compare.png", dpi=100)
