import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ChartHandle } from "./chart";

/** A line of the chart. */
export interface Series {
  name: string;
  /** A score for each time; `null` is a gap, and `undefined` is a time of another series. */
  values: readonly (number | null | undefined)[];
  /** `secondary` is thin and grey; `threshold` and `clear` are levels that move. */
  kind?: "score" | "secondary" | "raised" | "threshold" | "clear";
}

/** A horizontal line, which can be dragged where it has `onMove`. */
export interface Level {
  /** `now`: dotted grey. `alert`: red with a filled pill. `clear`: dashed with an outlined pill. */
  kind: "now" | "alert" | "clear";
  value: number;
  /** What its pill says before the value: `alert at`. */
  text: string;
  /** The level was moved, by the mouse, a finger or the keyboard (0.01; with shift 0.1). */
  onMove?: (value: number) => void;
  min?: number;
  max?: number;
}

/** A shaded range of time. Times are in seconds. */
export interface Span {
  from: number;
  to: number;
  kind: "raised" | "new" | "gone";
}

/** A small sign at a time and a score. */
export interface Mark {
  at: number;
  value: number;
  kind: "alert" | "right" | "wrong" | "near";
}

export interface TimeChartProps {
  /** What it shows, for screen readers. */
  label: string;
  /** Seconds since 1970, ascending. */
  times: readonly number[];
  series: readonly Series[];
  /** The lowest and the highest score of each time, shaded behind the first series. */
  band?: { lowest: readonly (number | null | undefined)[]; highest: readonly (number | null | undefined)[] };
  levels?: readonly Level[];
  spans?: readonly Span[];
  marks?: readonly Mark[];
  /** The highest score on the axis: 1, or less where all scores are low. Levels then move in smaller steps. */
  top?: number;
  /** Whether the times have a date. Those of a recording without one begin at 0:00. */
  isDated?: boolean;
  /** The times that are shown; all of them if there is none. */
  range?: readonly [number, number];
  /** The range was changed: with the mouse, or by a double click (`undefined`). */
  onRange?: (range: readonly [number, number] | undefined) => void;
  /** The chart was pressed at this time. */
  onPick?: (at: number) => void;
  /** Below the chart: for people who do not see it. */
  children?: ComponentChildren;
}

/** Scores over time. The library that draws is loaded when the first chart appears. */
export function TimeChart(props: TimeChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<ChartHandle | undefined>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const [isReady, setReady] = useState(false);
  useEffect(() => {
    let isGone = false;
    void import("./chart").then(({ draw }) => {
      if (isGone || !box.current) return;
      chart.current = draw(box.current, () => latest.current);
      setReady(true);
    });
    return () => {
      isGone = true;
      chart.current?.remove();
      chart.current = undefined;
    };
  }, []);
  const { times, series, band, top, range, levels, spans, marks } = props;
  useEffect(() => chart.current?.data(), [times, series, band, top, range, isReady]);
  // Before the next paint: a level that is moved stays under the pointer.
  useLayoutEffect(() => chart.current?.overlays(), [levels, spans, marks, isReady]);
  return (
    <div class="timechart" role="group" aria-label={props.label} aria-busy={!isReady || undefined}>
      <div ref={box} class="timechart-plot" />
      {props.children}
    </div>
  );
}
