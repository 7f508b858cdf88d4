// Draws a TimeChart with uPlot: the lines and spans on its canvas, the levels as elements over it, so that they can be dragged, reached
// with the keyboard, and read by a screen reader.

import uPlot from "uplot";
import { colour } from "../colour";
import { clock, day, score } from "../format";
import type { Level, Mark, Series, Span, TimeChartProps } from "./TimeChart";

export interface ChartHandle {
  /** Times, series or the range have changed. */
  data: () => void;
  /** Levels, spans or marks have changed. */
  overlays: () => void;
  remove: () => void;
}

/** The decimals of a level: two, or more where all scores are low. */
export function decimalsOf(top = 1): number {
  return Math.max(2, Math.ceil(-Math.log10(top / 100)));
}

/** The step of a level: 0.01, or less where all scores are low. With shift it is ten times as wide. */
function stepOf(top?: number): number {
  return 10 ** -decimalsOf(top);
}

/** The width of a time below the chart. */
const LABEL_PX = 40;

interface Colours {
  line: string;
  accent: string;
  muted: string;
  raised: string;
  raisedSoft: string;
  accentSoft: string;
  right: string;
  problem: string;
  grid: string;
  surface: string;
}

/** Draws into `box`. `props` returns the present properties. */
export function draw(box: HTMLElement, props: () => TimeChartProps): ChartHandle {
  let colours = readColours();
  const top = () => props().top ?? 1;
  const size = () => ({ width: Math.max(200, box.clientWidth), height: Math.max(160, box.clientHeight) });
  let plot = create();
  const levels = new LevelHandles(plot, props);
  const resized = new ResizeObserver(() => plot.setSize(size()));
  resized.observe(box);
  const themed = () => {
    colours = readColours();
    plot.redraw(false, true);
  };
  const root = new MutationObserver(themed);
  root.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", themed);

  function create(): uPlot {
    const options: uPlot.Options = {
      ...size(),
      legend: { show: false },
      padding: [8, 0, 0, 0],
      cursor: {
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        y: false,
      },
      scales: { x: { time: true }, score: { range: () => [0, top()] } },
      axes: [
        {
          stroke: () => colours.muted,
          grid: { stroke: () => colours.grid, width: 1 },
          ticks: { show: false },
          font: font(),
          size: 28,
          space: 64,
          values: (drawn, splits, _axis, _space, step) => timeLabels(drawn, splits, step, props().isDated ?? true),
        },
        {
          scale: "score",
          side: 1,
          stroke: () => colours.muted,
          grid: { stroke: () => colours.grid, width: 1 },
          ticks: { show: false },
          font: font(),
          size: top() >= 0.5 ? 34 : 62,
          splits: () => [0, 0.2, 0.4, 0.6, 0.8, 1].map((part) => part * top()),
          values: (_, splits) => splits.map((value) => (top() >= 0.5 ? value.toFixed(1) : String(Number(value.toPrecision(2))))),
        },
      ],
      series: [{}, ...(props().band ? [EDGE, EDGE] : []), ...props().series.map((one) => lineOf(one.kind))],
      bands: props().band ? [{ series: [2, 1], fill: () => colours.accentSoft }] : [],
      hooks: {
        drawClear: [(drawn) => props().spans?.forEach((span) => drawSpan(drawn, span, colours))],
        draw: [(drawn) => props().marks?.forEach((mark) => drawMark(drawn, mark, colours))],
        setSize: [() => levels?.place()],
        setCursor: [(drawn) => readOut(drawn, readout, props())],
        setSelect: [selected],
      },
    };
    const readout = document.createElement("span");
    readout.className = "timechart-readout";
    readout.setAttribute("aria-hidden", "true");
    const made = new uPlot(options, aligned(props()), box);
    made.over.append(readout);
    made.over.addEventListener("dblclick", () => props().onRange?.(undefined));
    made.over.addEventListener("click", (event) => {
      if (event.target === made.over) props().onPick?.(made.posToVal(event.offsetX, "x"));
    });
    return made;
  }

  function lineOf(kind: Series["kind"] = "score"): uPlot.Series {
    const tokens = { score: "accent", raised: "raised", secondary: "muted", threshold: "raised", clear: "raised" } as const;
    const line: uPlot.Series = { scale: "score", stroke: () => colours[tokens[kind]], points: { show: false }, spanGaps: false };
    if (kind === "score" || kind === "raised") return { ...line, width: 1.5 };
    return { ...line, width: 1, ...(kind === "clear" && { dash: [4, 4] }) };
  }

  function selected(drawn: uPlot) {
    const { left, width } = drawn.select;
    if (width < 8) return;
    const range = [drawn.posToVal(left, "x"), drawn.posToVal(left + width, "x")] as const;
    drawn.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    props().onRange?.(range);
  }

  return {
    data() {
      const now = props();
      if (now.series.length + 1 + (now.band ? 2 : 0) !== plot.series.length) {
        plot.destroy();
        plot = create();
        levels.moveTo(plot);
      } else {
        plot.setData(aligned(now), false);
      }
      const [first, last] = [now.times[0] ?? 0, now.times.at(-1) ?? 1];
      const [min, max] = now.range ?? [first, last === first ? first + 1 : last];
      plot.setScale("x", { min, max });
      // Levels may have been added in the same moment.
      levels.update();
    },
    overlays() {
      plot.redraw(false, false);
      levels.update();
    },
    remove() {
      resized.disconnect();
      root.disconnect();
      dark.removeEventListener("change", themed);
      plot.destroy();
    },
  };
}

/** An edge of the band, which has no line. */
const EDGE: uPlot.Series = { scale: "score", width: 0, points: { show: false }, spanGaps: false };

function aligned({ times, series, band }: TimeChartProps): uPlot.AlignedData {
  const edges = band ? [band.lowest, band.highest] : [];
  return [times, ...edges, ...series.map((one) => one.values)] as uPlot.AlignedData;
}

function font(): string {
  return `12px ${getComputedStyle(document.body).fontFamily}`;
}

function readColours(): Colours {
  return {
    line: colour("--line"),
    accent: colour("--accent"),
    muted: colour("--muted"),
    raised: colour("--raised"),
    raisedSoft: colour("--raised-span"),
    accentSoft: colour("--accent-span"),
    right: colour("--right"),
    problem: colour("--problem"),
    grid: colour("--grid"),
    surface: colour("--surface"),
  };
}

/** The day at midnight and where the steps are days; the time elsewhere. Nothing at the left edge, where a text would be cut. */
function timeLabels(plot: uPlot, splits: number[], step: number, isDated: boolean): string[] {
  const now = new Date();
  return splits.map((second) => {
    if (plot.valToPos(second, "x") < LABEL_PX / 2) return "";
    const at = new Date(second * 1000);
    const isMidnight = at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0;
    return isDated && (step >= 86_400 || isMidnight) ? day(at, now) : clock(at, step < 60);
  });
}

/** The time and the score under the pointer. */
function readOut(plot: uPlot, readout: HTMLElement, { isDated = true, top = 1, band }: TimeChartProps) {
  const { idx, left = -1 } = plot.cursor;
  const value = idx == null ? undefined : plot.data.slice(band ? 3 : 1).map((values) => values[idx]).find((found) => found != null);
  readout.hidden = idx == null || value == null || left < 0;
  if (readout.hidden || idx == null) return;
  const at = new Date((plot.data[0][idx] ?? 0) * 1000);
  const when = isDated ? `${day(at, new Date())} ${clock(at, true)}` : clock(at, true);
  readout.textContent = `${when} · ${top >= 0.5 ? score(value) : String(value)}`;
}

function drawSpan(plot: uPlot, span: Span, colours: Colours) {
  const { left, top, width, height } = plot.bbox;
  const from = Math.max(left, plot.valToPos(span.from, "x", true));
  const to = Math.min(left + width, plot.valToPos(span.to, "x", true));
  if (to < left || from > left + width) return;
  plot.ctx.save();
  plot.ctx.fillStyle = span.kind === "new" ? colours.accentSoft : colours.raisedSoft;
  plot.ctx.globalAlpha = span.kind === "gone" ? 0.45 : 1;
  plot.ctx.fillRect(from, top, Math.max(2 * devicePixelRatio, to - from), height);
  plot.ctx.restore();
}

function drawMark(plot: uPlot, mark: Mark, colours: Colours) {
  const x = plot.valToPos(mark.at, "x", true);
  const y = plot.valToPos(mark.value, "score", true);
  if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) return;
  const fill = { alert: colours.accent, right: colours.right, wrong: colours.raised, near: colours.problem }[mark.kind];
  const { ctx } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.arc(x, y, 4 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.strokeStyle = colours.surface;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.stroke();
  ctx.fill();
  ctx.restore();
}

/** The levels over the plot: a line across, and a pill that is a slider where the level can be moved. */
class LevelHandles {
  private lines: HTMLElement[] = [];
  private pills: HTMLElement[] = [];

  constructor(
    private plot: uPlot,
    private readonly props: () => TimeChartProps,
  ) {
    this.update();
  }

  moveTo(plot: uPlot) {
    this.plot = plot;
    this.lines = [];
    this.pills = [];
    this.update();
  }

  /** Makes as many elements as there are levels, and writes what they say. */
  update() {
    const levels = this.props().levels ?? [];
    while (this.lines.length > levels.length) {
      this.lines.pop()?.remove();
      this.pills.pop()?.remove();
    }
    while (this.lines.length < levels.length) this.add(this.lines.length);
    levels.forEach((level, index) => this.describe(level, this.lines[index]!, this.pills[index]!));
    this.place();
  }

  /** Puts each level at its height. Pills that would cover each other move apart. */
  place() {
    const levels = this.props().levels ?? [];
    const heights = levels.map((level) => this.plot.valToPos(level.value, "score"));
    levels.slice(0, this.lines.length).forEach((_, index) => {
      const y = heights[index]!;
      this.lines[index]!.style.transform = `translateY(${y}px)`;
      const isCovered = levels[index]!.kind !== "now" && heights.some((other, before) => before < index && Math.abs(other - y) < 26);
      this.pills[index]!.style.transform = `translate(${isCovered ? -140 : 0}px, ${y}px)`;
    });
  }

  private add(index: number) {
    const line = document.createElement("div");
    const pill = document.createElement("div");
    pill.addEventListener("pointerdown", (event) => this.drag(event, index));
    pill.addEventListener("keydown", (event) => this.press(event, index));
    this.plot.over.append(line, pill);
    this.lines.push(line);
    this.pills.push(pill);
  }

  private describe(level: Level, line: HTMLElement, pill: HTMLElement) {
    line.className = `level level-${level.kind}`;
    pill.className = `level-pill level-pill-${level.kind} ${level.onMove ? "level-movable" : ""}`;
    const number = (value: number) => value.toFixed(decimalsOf(this.props().top));
    const text = `${level.onMove ? "⇅ " : ""}${level.text} ${number(level.value)}`;
    if (pill.textContent !== text) pill.textContent = text;
    if (!level.onMove) {
      for (const name of [...pill.getAttributeNames()]) if (name !== "class" && name !== "style") pill.removeAttribute(name);
      return;
    }
    pill.tabIndex = 0;
    const attributes = {
      role: "slider",
      "aria-orientation": "vertical",
      "aria-label": level.text,
      "aria-valuemin": number(level.min ?? 0),
      "aria-valuemax": number(level.max ?? 1),
      "aria-valuenow": number(level.value),
      "aria-valuetext": `${level.text} ${number(level.value)}`,
    };
    for (const [name, value] of Object.entries(attributes)) pill.setAttribute(name, value);
  }

  private move(index: number, value: number) {
    const level = this.props().levels?.[index];
    if (!level?.onMove) return;
    const { top } = this.props();
    const step = stepOf(top);
    const within = Math.min(level.max ?? 1, Math.max(level.min ?? 0, value));
    const next = Number((Math.round(within / step) * step).toFixed(decimalsOf(top)));
    if (next !== level.value) level.onMove(next);
  }

  private drag(event: PointerEvent, index: number) {
    const pill = this.pills[index]!;
    if (!this.props().levels?.[index]?.onMove) return;
    event.preventDefault();
    event.stopPropagation();
    pill.focus();
    pill.setPointerCapture(event.pointerId);
    const top = this.plot.over.getBoundingClientRect().top;
    const offset = event.clientY - top - this.plot.valToPos(this.props().levels![index]!.value, "score");
    const moved = (next: PointerEvent) => {
      const height = next.clientY - this.plot.over.getBoundingClientRect().top - offset;
      this.move(index, this.plot.posToVal(height, "score"));
    };
    const ended = () => {
      pill.removeEventListener("pointermove", moved);
      pill.removeEventListener("pointerup", ended);
      pill.removeEventListener("pointercancel", ended);
    };
    pill.addEventListener("pointermove", moved);
    pill.addEventListener("pointerup", ended);
    pill.addEventListener("pointercancel", ended);
  }

  private press(event: KeyboardEvent, index: number) {
    const value = this.props().levels?.[index]?.value ?? 0;
    const [narrow, wide] = [stepOf(this.props().top), 10 * stepOf(this.props().top)];
    const step = event.shiftKey ? wide : narrow;
    const next = {
      ArrowUp: value + step,
      ArrowRight: value + step,
      ArrowDown: value - step,
      ArrowLeft: value - step,
      PageUp: value + wide,
      PageDown: value - wide,
      Home: 0,
      End: 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(index, next);
  }
}
