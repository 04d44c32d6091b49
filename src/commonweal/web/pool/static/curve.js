// The curve of a job while it grows. The picture that came with the page stays for print, and for who has no script.

import uPlot from "./uPlot.esm.js";

// Places in a point, as the hub tells them: number, step, tokens, loss, held_out, accepted, missing, refused.
const NUMBER = 0;
const CHARTS = {
  loss: [
    { label: "training", at: 3, color: "--curve-a" },
    { label: "held-out text", at: 4, color: "--curve-b", dash: [6, 3], spanGaps: true, points: { show: true, size: 5 } },
  ],
  crowd: [
    { label: "counted", at: 5, color: "--curve-a" },
    { label: "handed nothing in", at: 6, color: "--curve-b", dash: [6, 3] },
    { label: "refused", at: 7, color: "--curve-c", dash: [2, 3] },
  ],
};
const HIGH = 240;
// Rounds and machines are counted: no axis has half of one.
const WHOLE = [1, 10, 100, 1000, 10000, 100000].flatMap((unit) => [unit, 2 * unit, 5 * unit]);
const DARK = matchMedia("(prefers-color-scheme: dark)");

class LiveCurve extends HTMLElement {
  connectedCallback() {
    this.chart = CHARTS[this.dataset.chart];
    this.picture = this.querySelector("svg");
    this.page = this.closest("live-page");
    this.page.addEventListener("points", () => this.show());
    new ResizeObserver(() => this.plot?.setSize({ width: this.clientWidth, height: HIGH })).observe(this);
    DARK.addEventListener("change", () => this.draw());
    this.show();
  }

  show() {
    const { points } = this.page;
    if (!points?.length) return;
    this.dataset.points = points.length;
    this.dataset.last = points.at(-1)[NUMBER];
    if (this.plot) this.plot.setData(this.columns());
    else this.draw();
  }

  columns() {
    return [NUMBER, ...this.chart.map((series) => series.at)].map((at) => this.page.points.map((point) => point[at]));
  }

  draw() {
    if (!this.page.points?.length) return;
    this.plot?.destroy();
    if (this.picture) this.picture.setAttribute("hidden", "");
    else this.replaceChildren();
    const style = getComputedStyle(this);
    const ink = style.getPropertyValue("--quiet").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    const options = {
      width: this.clientWidth,
      height: HIGH,
      scales: { x: { time: false }, y: this.dataset.chart === "crowd" ? { range: [0, null] } : {} },
      axes: [
        { ...axis, size: 28, incrs: WHOLE },
        { ...axis, size: 48, ...(this.dataset.chart === "crowd" ? { incrs: WHOLE } : {}) },
      ],
      cursor: { y: false, drag: { x: true, y: false } },
      series: [
        { label: "round" },
        ...this.chart.map(({ label, color, dash, spanGaps, points }) => ({
          label,
          stroke: style.getPropertyValue(color).trim(),
          width: 1.75,
          dash,
          spanGaps,
          points: points ?? { show: false },
        })),
      ],
    };
    this.plot = new uPlot(options, this.columns(), this);
    const canvas = this.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${this.dataset.title}. The table of rounds has the same numbers.`);
  }
}

customElements.define("live-curve", LiveCurve);
