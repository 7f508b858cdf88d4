// Verdicts on the alerts of a trial: by the identifier of an alert of the service, or by the moment.

import { useMemo } from "preact/hooks";
import { type Judged, hasFailed, useMarks, verdictOf } from "../../marks";
import type { Subject, TriedAlert, Verdict } from "./types";

/** The verdicts of the label: another object for each change. */
export interface Marks {
  /** What is judged. */
  judged: (alert: TriedAlert) => Judged;
  /** The verdict on an alert, stored or not yet. */
  of: (alert: TriedAlert) => Verdict | null;
  /** Whether the verdict on an alert could not be stored. */
  hasFailed: (alert: TriedAlert) => boolean;
}

/** The verdicts on alerts of this label, and the number of verdicts that were stored. */
export function useAlertMarks({ source, label_set, label }: Pick<Subject, "source" | "label_set" | "label">): { marks: Marks; round: number } {
  const { changes, stores } = useMarks();
  const marks = useMemo<Marks>(() => {
    const judged = ({ id, time, mark }: TriedAlert): Judged =>
      id ? { id, mark } : { source, label: `${label_set}/${label}`, at: time, mark };
    return { judged, of: (alert) => verdictOf(judged(alert)), hasFailed: (alert) => hasFailed(judged(alert)) };
  }, [source, label_set, label, changes]);
  return { marks, round: stores };
}
