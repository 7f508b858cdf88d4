// The script of the HTML reports of `replay` and `tune`: the chart of the console instead of the drawing, with a zoom in time.

import type { Level, Series, Span, TimeChartProps } from "./parts/TimeChart";
import { draw } from "./parts/chart";

/** What a report knows of a label, as `src/plot/html.rs` writes it. Times are in milliseconds. */
interface Data {
  label: string;
  dated: boolean;
  top: number;
  time: number[];
  score: number[];
  /** A number, or one for each score where it moves. */
  threshold: number | (number | null)[] | null;
  clear_below: number | (number | null)[] | null;
  spans: [number, number][];
}

for (const track of document.querySelectorAll<HTMLElement>(".track")) {
  const box = track.querySelector<HTMLElement>(".timechart-plot");
  const text = track.querySelector("script")?.textContent;
  if (box && text) show(track, box, JSON.parse(text) as Data);
}

function show(track: HTMLElement, box: HTMLElement, data: Data) {
  // Times without a date are counted from 0:00, wherever the report is read.
  const shift = data.dated ? 0 : new Date(0).getTimezoneOffset() * 60;
  const seconds = (time: number) => time / 1000 + shift;
  const times = data.time.map(seconds);
  let range: readonly [number, number] | undefined;
  const props: TimeChartProps = {
    label: data.label,
    times,
    series: series(data),
    levels: levels(data),
    spans: data.spans.map(([from, to]): Span => ({ from: seconds(from), to: seconds(to), kind: "raised" })),
    top: data.top,
    isDated: data.dated,
    onRange: (next) => zoom(next),
  };
  const whole = document.createElement("button");
  whole.type = "button";
  whole.className = "button whole-time";
  whole.textContent = "Whole time";
  whole.hidden = true;
  whole.addEventListener("click", () => zoom(undefined));
  box.parentElement?.append(whole);
  box.replaceChildren();
  const chart = draw(box, () => ({ ...props, range }));
  chart.data();

  function zoom(next: readonly [number, number] | undefined) {
    range = next;
    whole.hidden = next === undefined;
    chart.data();
  }

  // A picture shows its moment in the chart.
  const length = (times.at(-1) ?? 0) - (times[0] ?? 0);
  track.addEventListener("click", (event) => {
    const picture = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-time]") : null;
    if (!picture || length === 0) return;
    const at = seconds(Number(picture.dataset.time));
    zoom([at - length / 40, at + length / 40]);
    box.scrollIntoView({ block: "nearest" });
  });
}

function series(data: Data): Series[] {
  const lines: Series[] = [{ name: data.label, values: data.score }];
  if (Array.isArray(data.threshold)) lines.push({ name: "threshold", values: data.threshold, kind: "threshold" });
  if (Array.isArray(data.clear_below)) lines.push({ name: "clear below", values: data.clear_below, kind: "clear" });
  return lines;
}

function levels(data: Data): Level[] {
  const levels: Level[] = [];
  if (typeof data.threshold === "number") levels.push({ kind: "alert", value: data.threshold, text: "alert at" });
  const isLower = typeof data.clear_below === "number" && data.clear_below !== data.threshold;
  if (isLower) levels.push({ kind: "clear", value: data.clear_below as number, text: "clear below" });
  return levels;
}
