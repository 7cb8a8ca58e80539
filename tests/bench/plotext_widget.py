"""A loss chart the usual way, for comparison: textual-plotext, replotted for each event."""

import sys

from textual.app import App, ComposeResult
from textual_plotext import PlotextPlot


class Charted(App[None]):
    def compose(self) -> ComposeResult:
        yield PlotextPlot()

    def on_mount(self) -> None:
        self.values: list[float] = [1.0] * 93
        rate = float(sys.argv[1])
        self.batch = max(1, round(rate / 10))  # at most ten pictures a second
        self.set_interval(self.batch / rate, self.grow)

    def grow(self) -> None:
        for _ in range(self.batch):
            step = len(self.values)
            self.values.append(0.3 + 0.1 * ((step * 7919) % 100) / 100)
        plot = self.query_one(PlotextPlot)
        plot.plt.clear_data()
        plot.plt.plot(self.values)
        plot.refresh()


if __name__ == "__main__":
    Charted().run()
