// Scores as the data of a chart.

import type { Level, Mark, Series, Span } from "../../parts/TimeChart";
import {
  type Point, type Scores, type Settings, type Tried, type TriedAlert, type TrialAnswer, type Verdict, type WordScores, clearOf, thresholdOf,
} from "./types";

type Values = (number | null | undefined)[];
/** The first and the last moment. The API describes it as a list of numbers. */
type Pair = [number, number];

/** Everything that is drawn. Times are in seconds. */
export interface Drawn {
  times: number[];
  series: Series[];
  band: { lowest: Values; highest: Values };
  /** The highest score on the axis. */
  top: number;
}

const LEAST_TOP = 0.001;

/** The scores of the label, and those of other words if they were tried. `undefined`: time of the other line. */
export function drawn(
  scores: Scores | undefined,
  label: { label_set: string; label: string },
  words: WordScores | undefined,
  settings: Settings | undefined,
): Drawn {
  const own = scores?.labels.find((one) => one.label_set === label.label_set && one.label === label.label)?.points ?? [];
  const line = withGaps(own, scores?.gaps ?? []);
  const other = withGaps(words?.points ?? [], words?.gaps ?? []);
  const times = [...new Set([...line.keys(), ...other.keys()])].sort((a, b) => a - b);
  const values = (points: ReadonlyMap<number, Point | null>, place: 1 | 2): Values =>
    times.map((time) => {
      const point = points.get(time);
      return point ? point[place] : point;
    });
  const series: Series[] = [{ name: label.label, values: values(line, 2) }];
  if (words) series.push({ name: "other words", values: values(other, 2), kind: "raised" });
  const highest = [...own, ...(words?.points ?? [])].reduce((most, point) => Math.max(most, point[2]), 0);
  return {
    times: times.map((time) => time / 1000),
    series,
    band: { lowest: values(line, 1), highest: values(line, 2) },
    top: topOf(Math.max(highest, settings?.rises ? 0 : (settings?.threshold ?? 0))),
  };
}

function isPair(numbers: number[]): numbers is Pair {
  return numbers.length === 2;
}

/** The points by their times, with `null` where frames are missing. */
function withGaps(points: readonly Point[], gaps: readonly number[][]): Map<number, Point | null> {
  const all = new Map<number, Point | null>(points.map((point) => [point[0], point]));
  for (const [before, after] of gaps.filter(isPair)) if (after - before > 1) all.set(before + 1, null);
  return all;
}

/** The highest score on the axis: 1, or a round number above all scores if these are low. */
export function topOf(highest: number): number {
  const most = Math.max(highest * 1.25, LEAST_TOP);
  if (most >= 0.5) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  return Number((Math.ceil(most / unit) * unit).toPrecision(3));
}

/** The levels: today's dotted, and those that can be moved. A rule has none, and rises over a baseline are no scores. */
export function levels(settings: Settings | undefined, tried: Tried, top: number, change: (changes: Tried) => void): Level[] {
  if (!settings || settings.rises || settings.threshold == null) return [];
  const [threshold, clear] = [thresholdOf(settings, tried) ?? top, clearOf(settings, tried)];
  const least = top / 100;
  const all: Level[] = [
    { kind: "alert", value: threshold, text: "alert at", min: least, max: Math.max(top, threshold), onMove: (value) => change({ threshold: value }) },
  ];
  if (clear !== null) {
    all.push({ kind: "clear", value: clear, text: "clear below", min: least, max: threshold, onMove: (value) => change({ clear_below: value }) });
  }
  // The last one: those before it keep their places, and the focus.
  if (threshold !== settings.threshold) all.push({ kind: "now", value: settings.threshold, text: "now" });
  return all;
}

/** When the label is raised; what only the tried settings raise, and what they lose. */
export function spans(answer: TrialAnswer | undefined): Span[] {
  if (!answer) return [];
  const [now, then] = [answer.now.spans.filter(isPair), answer.then.spans.filter(isPair)];
  const added = apart(then, now);
  const span = (kind: Span["kind"]) => ([from, to]: Pair): Span => ({ from: from / 1000, to: to / 1000, kind });
  return [
    ...apart(now, then).map(span("gone")),
    ...without(then, added).map(span("raised")),
    ...added.map(span("new")),
  ];
}

/** The spans that have no moment in common with the others. Both are in the order of time. */
export function apart(spans: readonly Pair[], others: readonly Pair[]): Pair[] {
  let next = 0;
  return spans.filter(([from, to]) => {
    while (next < others.length && others[next]![1] < from) next += 1;
    const other = others[next];
    return !other || other[0] > to;
  });
}

function without(spans: readonly Pair[], some: readonly Pair[]): Pair[] {
  const left = new Set(some);
  return spans.filter((span) => !left.has(span));
}

/** A sign for each alert, at its score. */
export function marks(alerts: readonly TriedAlert[], of: (alert: TriedAlert) => Verdict | null): Mark[] {
  return alerts.flatMap((alert) =>
    alert.score == null ? [] : [{ at: Date.parse(alert.time) / 1000, value: alert.score, kind: of(alert) ?? "alert" }],
  );
}
