import { useMemo } from "preact/hooks";
import { Card } from "../../parts/Card";
import { TimeChart } from "../../parts/TimeChart";
import type { TriedWords } from "./Words";
import { drawn, levels, marks as signs, spans } from "./drawn";
import type { Marks } from "./marks";
import type { Scores, Settings, Subject, Tried, TriedAlert, TrialAnswer } from "./types";

/** The scores of the label, when it is raised, and the levels that can be dragged. */
export function ChartCard({ subject, words, scores, otherWords, settings, tried, answer, alerts, marks, range, onChange, onRange, onPick }: {
  subject: Subject;
  /** `last 7 days`. */
  words: string;
  scores: Scores | undefined;
  otherWords: TriedWords | undefined;
  settings: Settings | undefined;
  tried: Tried;
  answer: TrialAnswer | undefined;
  /** The alerts that have a sign. */
  alerts: readonly TriedAlert[];
  marks: Marks;
  /** The time that is shown, in seconds. */
  range: readonly [number, number];
  onChange: (changes: Tried) => void;
  onRange: (range: readonly [number, number] | undefined) => void;
  /** The chart was pressed: the alert that is nearest to this time. */
  onPick: (alert: TriedAlert) => void;
}) {
  const { source, label_set, label } = subject;
  const chart = useMemo(
    () => drawn(scores, { label_set, label }, otherWords?.scores, settings),
    [scores, label_set, label, otherWords, settings],
  );
  const lines = useMemo(() => levels(settings, tried, chart.top, onChange), [settings, tried, chart.top, onChange]);
  const shades = useMemo(() => spans(answer), [answer]);
  const dots = useMemo(() => signs(alerts, marks.of), [alerts, marks]);
  return (
    <Card label="Scores">
      <TimeChart
        label={`Scores of ${label} on ${source}, ${words}`}
        {...chart}
        levels={lines}
        spans={shades}
        marks={dots}
        range={range}
        onRange={onRange}
        onPick={(at) => {
          const alert = nearest(alerts, at);
          if (alert) onPick(alert);
        }}
      />
      <p class="muted small tune-hint">Drag the pills, or use the arrow keys. Drag over the chart to look at a part, and double-click for all.</p>
    </Card>
  );
}

function nearest(alerts: readonly TriedAlert[], at: number): TriedAlert | undefined {
  const distance = (alert: TriedAlert) => Math.abs(Date.parse(alert.time) / 1000 - at);
  return alerts.reduce<TriedAlert | undefined>((best, alert) => (!best || distance(alert) < distance(best) ? alert : best), undefined);
}
