// Verdicts on the alerts of a trial: by the identifier of an alert of the service, or by the moment.

import { useEffect, useRef, useState } from "preact/hooks";
import { post } from "../../api";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import type { Subject, TriedAlert, Verdict } from "./types";

export interface Marks {
  /** The verdict on an alert, stored or not yet. */
  of: (alert: TriedAlert) => Verdict | null;
  /** Stores a verdict; the same verdict again takes it back. */
  set: (alert: TriedAlert, verdict: Verdict) => void;
  /** Takes back the newest verdict, and returns the time of its alert. */
  undo: () => string | undefined;
  /** Counts the verdicts that were stored. */
  round: number;
  /** What was said on this page: another map for each change. */
  said: ReadonlyMap<string, Verdict | null>;
}

interface Done {
  alert: TriedAlert;
  before: Verdict | null;
}

/** Verdicts on alerts of this label. */
export function useMarks({ source, label_set, label }: Pick<Subject, "source" | "label_set" | "label">): Marks {
  // What was said on this page counts before what the trial says, which may be older.
  const [said, setSaid] = useState<ReadonlyMap<string, Verdict | null>>(new Map());
  const [round, setRound] = useState(0);
  const done = useRef<Done[]>([]);
  const queue = useRef<Promise<void>>(Promise.resolve());
  useEffect(() => {
    setSaid(new Map());
    done.current = [];
  }, [source, label_set, label]);

  const of = (alert: TriedAlert): Verdict | null => said.get(alert.time) ?? (said.has(alert.time) ? null : verdict(alert.mark));
  const store = (alert: TriedAlert, wanted: Verdict | null, before: Verdict | null) => {
    setSaid((all) => new Map(all).set(alert.time, wanted));
    const subject = alert.id ? { id: alert.id } : { source, label: `${label_set}/${label}`, at: alert.time };
    // One after the other: the newest verdict is the last one.
    queue.current = queue.current.then(async () => {
      try {
        await post("mark", { ...subject, verdict: wanted ?? "undo" });
        setRound((all) => all + 1);
      } catch (thrown) {
        // Unless another verdict was given since.
        setSaid((all) => (all.get(alert.time) === wanted ? new Map(all).set(alert.time, before) : all));
        toast(`The verdict was not stored: ${asApiError(thrown).message}`);
      }
    });
  };
  return {
    of,
    set(alert, wanted) {
      const before = of(alert);
      done.current.push({ alert, before });
      store(alert, before === wanted ? null : wanted, before);
    },
    undo() {
      const last = done.current.pop();
      if (last) store(last.alert, last.before, of(last.alert));
      return last?.alert.time;
    },
    round,
    said,
  };
}

function verdict(word: string | null | undefined): Verdict | null {
  return word === "right" || word === "wrong" ? word : null;
}
