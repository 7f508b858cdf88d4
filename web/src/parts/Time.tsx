import { useEffect, useState } from "preact/hooks";
import { time } from "../format";

/** A time: relative until it is a minute old, then local. The whole time is its title. */
export function Time({ at, prefix = "" }: { at: string | number | Date; prefix?: string }) {
  const date = at instanceof Date ? at : new Date(at);
  const now = useNow();
  if (Number.isNaN(date.getTime())) return null;
  return <time dateTime={date.toISOString()} title={date.toLocaleString()}>{prefix}{time(date, now)}</time>;
}

const TICK_MS = 1_000;
const listeners = new Set<(now: Date) => void>();
let timer: number | undefined;

/** The time, once a second. All components share one timer. */
export function useNow(): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    listeners.add(setNow);
    timer ??= window.setInterval(() => {
      const next = new Date();
      if (!document.hidden) listeners.forEach((listener) => listener(next));
    }, TICK_MS);
    return () => {
      listeners.delete(setNow);
      if (listeners.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  }, []);
  return now;
}
