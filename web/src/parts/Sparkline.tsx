import { score } from "../format";

interface Props {
  /** Scores from 0 to 1, the oldest first; `null` is a gap. */
  values: readonly (number | null)[];
  threshold?: number | null;
  clearBelow?: number | null;
  raised?: boolean;
  /** What it shows, for screen readers: the label. */
  label: string;
}

const WIDTH = 100;
const HEIGHT = 28;

/** A small line of scores with the threshold (dotted) and the clear level. */
export function Sparkline({ values, threshold, clearBelow, raised, label }: Props) {
  const newest = values.findLast((value) => value !== null);
  const name = `${label}: ${score(newest)}${threshold == null ? "" : `, threshold ${score(threshold)}`}`;
  return (
    <svg class={`sparkline ${raised ? "sparkline-raised" : ""}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={name}>
      {threshold != null && <path class="sparkline-threshold" d={level(threshold)} />}
      {clearBelow != null && <path class="sparkline-clear" d={level(clearBelow)} />}
      <path class="sparkline-line" d={line(values)} />
    </svg>
  );
}

function height(value: number): string {
  return (1 + (1 - Math.min(1, Math.max(0, value))) * (HEIGHT - 2)).toFixed(1);
}

function level(value: number): string {
  return `M0 ${height(value)}H${WIDTH}`;
}

/** The line of these values; a gap interrupts it. */
function line(values: readonly (number | null)[]): string {
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  let path = "";
  let isDrawing = false;
  values.forEach((value, index) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    path += `${isDrawing ? "L" : "M"}${(index * step).toFixed(1)} ${height(value)}`;
    isDrawing = true;
  });
  return path;
}
